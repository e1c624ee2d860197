# cwd /data/nj env LC_ALL=C 
python -m pytest -v -p no:cacheprovider test_a.py
# rc=1 wall=1.42s
