# in a terminal, LC_ALL=C
git gc
