# cwd /data
head -c 800M big
