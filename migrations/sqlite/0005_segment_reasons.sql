-- Why a segment is missing, in words.
ALTER TABLE segments ADD COLUMN reason TEXT;
