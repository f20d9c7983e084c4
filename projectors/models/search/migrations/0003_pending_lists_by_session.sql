-- How long the pending list of words may be is for the session that writes to say: short where orders come one by one and searches
-- read it, long while history comes in. The index itself says nothing any more.
ALTER INDEX orders_words RESET (gin_pending_list_limit);
