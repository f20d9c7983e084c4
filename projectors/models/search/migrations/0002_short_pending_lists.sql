-- What was written lately lies in a list of its own before it comes into the index, and every search reads that list from end to end:
-- up to 4 MB of it, where nothing is said. Some batches are enough for the writer; with more it saves nothing.
ALTER INDEX orders_words SET (gin_pending_list_limit = 512);
-- Read once for each product found: the least there is.
ALTER INDEX orders_unnamed SET (gin_pending_list_limit = 64);
