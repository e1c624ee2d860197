# in a terminal; pip 23.2
pip download --no-deps -d out http://127.0.0.1:8000/paced-1.0-py3-none-any.whl
