"""Which requests mean something for the product, and what of them may be kept. Pure: no clock, no disk, no secrets."""
