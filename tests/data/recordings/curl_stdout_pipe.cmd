# LC_ALL=C
curl http://127.0.0.1:18999/f.bin
