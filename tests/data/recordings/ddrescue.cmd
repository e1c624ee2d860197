ddrescue --max-read-rate=30Mi rnd.bin ddr.out
# what it printed was recorded of a run with a map
