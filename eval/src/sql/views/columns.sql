-- Every column of the tables and views: its type, and what it holds
-- place is its place in the table, from 0
SELECT c.table_name AS "table", c.ordinal_position AS place, c.column_name AS "column", c.data_type AS type,
  coalesce(own.meaning, any_table.meaning) AS meaning
FROM information_schema.columns c
LEFT JOIN meanings own ON own.table_name = c.table_name AND own.column_name = c.column_name
LEFT JOIN meanings any_table ON any_table.table_name = '' AND any_table.column_name = c.column_name
WHERE c.table_schema = 'public' AND c.table_name NOT IN ('meanings', 'frames')
