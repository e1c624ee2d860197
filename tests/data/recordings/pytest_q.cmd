# cwd /data/nj env LC_ALL=C 
python -m pytest -q -p no:cacheprovider test_a.py
# rc=1 wall=1.42s
