"""A stand-in for what Citus adds to a database's catalogue. It is not Citus: nothing is moved anywhere.

It keeps the metadata that Citus keeps, refuses what Citus's documentation says it refuses, and its one worker is the
database itself. So it proves that our steps come in order, can be repeated and be killed, and that a ledger finds its
shards. It does not prove that Citus accepts our statements.
"""

import asyncpg

CATALOGUE = """
CREATE TABLE pg_dist_partition (
    logicalrelid regclass PRIMARY KEY, partmethod "char" NOT NULL, partkey text, colocationid integer NOT NULL
);
CREATE TABLE pg_dist_shard (
    logicalrelid regclass NOT NULL, shardid bigserial PRIMARY KEY, shardminvalue text, shardmaxvalue text
);
CREATE SEQUENCE colocation;

CREATE FUNCTION create_distributed_table(
    table_name regclass, distribution_column text, distribution_type text DEFAULT 'hash',
    colocate_with text DEFAULT 'default', shard_count integer DEFAULT 32
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    pieces integer := shard_count;
    together integer;
    wide bigint;
BEGIN
    IF EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = table_name) THEN
        RAISE EXCEPTION 'table "%" is already distributed', table_name;
    END IF;
    IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = table_name AND NOT tgisinternal)
        AND coalesce(current_setting('citus.enable_unsafe_triggers', true), 'off') <> 'on' THEN
        RAISE EXCEPTION 'cannot distribute relation "%" because it has triggers', table_name;
    END IF;
    IF EXISTS (
        SELECT FROM pg_index WHERE indrelid = table_name AND indisunique AND NOT EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = table_name AND attname = distribution_column
            AND attnum = ANY(indkey::int2[])
        )
    ) THEN
        RAISE EXCEPTION 'cannot create constraint on "%": no partition column', table_name;
    END IF;
    IF EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND table_name IN (conrelid, confrelid)) THEN
        RAISE EXCEPTION 'cannot create foreign key constraint';
    END IF;
    IF colocate_with = 'none' THEN
        together := nextval('colocation');
    ELSE
        SELECT colocationid INTO STRICT together FROM pg_dist_partition WHERE logicalrelid = colocate_with::regclass;
        SELECT count(*) INTO pieces FROM pg_dist_shard WHERE logicalrelid = colocate_with::regclass;
    END IF;
    INSERT INTO pg_dist_partition VALUES (table_name, 'h', distribution_column, together);
    wide := 4294967296 / pieces;
    INSERT INTO pg_dist_shard (logicalrelid, shardminvalue, shardmaxvalue)
        SELECT table_name, -2147483648 + n * wide,
            CASE WHEN n = pieces - 1 THEN 2147483647 ELSE -2147483649 + (n + 1) * wide END
        FROM generate_series(0, pieces - 1) AS n;
END $$;

CREATE FUNCTION run_command_on_workers(command text)
RETURNS TABLE (nodename text, nodeport integer, success boolean, result text) LANGUAGE plpgsql AS $$
BEGIN
    IF command LIKE 'SELECT%' THEN EXECUTE command INTO result; ELSE EXECUTE command; END IF;
    RETURN QUERY SELECT 'stand-in', 5432, true, result;
EXCEPTION WHEN insufficient_privilege THEN
    RETURN QUERY SELECT 'stand-in', 5432, false, SQLERRM;
END $$;

CREATE FUNCTION run_command_on_shards(table_name regclass, command text)
RETURNS TABLE (shardid bigint, success boolean, result text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(command, table_name) INTO result;
    RETURN QUERY SELECT s.shardid, true, coalesce(run_command_on_shards.result, '')
        FROM pg_dist_shard AS s WHERE logicalrelid = table_name;
END $$;
"""


async def stand_in(url: str) -> None:
    """Give a database the stand-in."""
    connection = await asyncpg.connect(url)
    await connection.execute(CATALOGUE)
    await connection.close()
