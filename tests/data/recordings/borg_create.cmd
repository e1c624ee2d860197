borg create --log-json --progress repo::a /srv/data /srv/other
