borg check --log-json --progress repo
