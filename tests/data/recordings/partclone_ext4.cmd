partclone.ext4 -c -s ex.img -o pc.img -L /datapc.log
