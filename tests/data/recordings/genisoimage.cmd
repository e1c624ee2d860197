genisoimage -o iso2.img -R tree
