mke2fs -F -t ext4 -E lazy_itable_init=0,nodiscard m.img
