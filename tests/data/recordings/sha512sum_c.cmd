# cwd /data
sha512sum -c list
