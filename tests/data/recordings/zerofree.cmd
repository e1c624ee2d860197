# cwd /data
zerofree image
