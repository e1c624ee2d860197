# env LC_ALL=C
cryptsetup reencrypt --force-offline-reencrypt --key-file kf l.img
