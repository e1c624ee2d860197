ntfsclone -f -s -O nt.special nt.img
