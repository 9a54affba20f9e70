"""The whole cleaning: profiles' steps over all shards, duplicates, engines, publication (`clean`)."""
