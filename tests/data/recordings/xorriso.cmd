xorriso -as mkisofs -o iso.img big4.bin big4.bin rnd.bin
