"""Finding out which servers are well: by asking them, and by watching what they answer to live traffic."""
