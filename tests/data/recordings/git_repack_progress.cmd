# LC_ALL=C; as git repack has it done
git repack
