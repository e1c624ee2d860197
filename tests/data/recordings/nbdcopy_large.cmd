nbdcopy --connections=1 --requests=1 -- '[' nbdkit --exit-with-parent --filter=delay pattern 1G rdelay=1ms ']' null:
