borg extract --log-json --progress repo::a
