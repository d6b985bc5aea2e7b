"""The function PostgreSQL runs for each request: db/sliding.py in PL/pgSQL, and the table it works on."""

# Several processes begin at once; the lock is held to the end of this one transaction.
SETUP = """
DO $setup$ BEGIN
PERFORM pg_advisory_xact_lock(7015401701540170);
IF to_regclass('limit_windows') IS NULL THEN
    CREATE UNLOGGED TABLE limit_windows (
        key text PRIMARY KEY, log float8[] NOT NULL DEFAULT '{}', ends float8 NOT NULL DEFAULT 0
    ) WITH (fillfactor = 50);
    CREATE INDEX limit_windows_ends ON limit_windows (ends);
END IF;
IF to_regproc('limit_take_1') IS NULL THEN
    CREATE FUNCTION limit_take_1(
        asked text[], limits float8[], spans float8[], grains float8[], amount float8, at float8,
        OUT counted boolean, OUT used float8[], OUT waits float8[]
    ) LANGUAGE plpgsql AS $take$
    DECLARE
        windows integer := cardinality(asked);
        locked integer := 0;
        moment float8;
        kept float8[];
        hits float8;
        surplus float8;
        pause float8;
        latest integer;
        mended boolean := false;
    BEGIN
        WHILE locked < windows LOOP
            PERFORM 1 FROM limit_windows WHERE key = ANY (asked) ORDER BY key FOR UPDATE;
            GET DIAGNOSTICS locked = ROW_COUNT;
            IF locked < windows THEN
                INSERT INTO limit_windows (key) SELECT unnest(asked) ON CONFLICT DO NOTHING;
            END IF;
        END LOOP;
        -- not before all are locked: hits are in order, whoever counts them
        moment := coalesce(at, extract(epoch FROM clock_timestamp()));
        counted := true;
        FOR i IN 1 .. windows LOOP
            SELECT log INTO kept FROM limit_windows WHERE key = asked[i];
            hits := 0;
            FOR entry IN 1 .. cardinality(kept) BY 2 LOOP
                IF moment - kept[entry] < spans[i] THEN
                    hits := hits + kept[entry + 1];
                    mended := mended OR kept[entry] > moment;
                END IF;
            END LOOP;
            used[i] := hits;
            counted := counted AND hits + amount <= limits[i];
        END LOOP;
        FOR i IN 1 .. windows LOOP
            SELECT array_agg(part ORDER BY place) INTO kept FROM (
                SELECT CASE WHEN place % 2 = 1 THEN least(part, moment) ELSE part END AS part, place
                FROM limit_windows w, unnest(w.log) WITH ORDINALITY AS parts (part, place)
                WHERE w.key = asked[i] AND moment - w.log[place - 1 + place % 2] < spans[i]
            ) AS live;
            kept := coalesce(kept, '{}');
            surplus := greatest(1, used[i] + amount - limits[i]);
            latest := cardinality(kept) - 1;
            IF counted AND amount > 0 THEN
                surplus := 1;
                used[i] := used[i] + amount;
                IF latest > 0 AND (kept[latest] = moment
                        OR grains[i] > 0 AND floor(kept[latest] / grains[i]) = floor(moment / grains[i])) THEN
                    kept[latest] := moment;
                    kept[latest + 1] := kept[latest + 1] + amount;
                ELSE
                    kept := kept || ARRAY[moment, amount];
                END IF;
            END IF;
            IF mended OR counted AND amount > 0 THEN
                UPDATE limit_windows SET log = kept, ends = (floor(moment / spans[i]) + 2) * spans[i]
                WHERE key = asked[i];
            END IF;
            pause := spans[i];
            FOR entry IN 1 .. cardinality(kept) BY 2 LOOP
                surplus := surplus - kept[entry + 1];
                IF surplus <= 0 THEN
                    pause := greatest(0, kept[entry] + spans[i] - moment);
                    EXIT;
                END IF;
            END LOOP;
            waits[i] := pause;
        END LOOP;
    END $take$;
END IF;
END $setup$
"""
