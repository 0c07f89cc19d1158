-- SQL's rules hold through item functions: one section per rule.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS cairn;
SET client_min_messages = notice;
SET timezone = 'UTC';

-- typmods: as SQL converts or refuses
CREATE TABLE typmods (id text COLLATE "C" PRIMARY KEY, code varchar(3), padded char(5), price numeric(6,2), at timestamptz(0)) USING cairn;
SELECT cairn.put_item('typmods', '{"id": "a", "code": "abc", "padded": "ab", "price": 1.005, "at": "2024-01-01 00:00:00.6+00"}');
SELECT cairn.get_item('typmods', '{"id": "a"}');
SELECT cairn.put_item('typmods', '{"id": "a", "code": "abcd"}');
SELECT cairn.put_item('typmods', '{"id": "a", "price": 12345.67}');
SELECT cairn.update_item('typmods', '{"id": "a"}', '{"code": "abcd"}');
SELECT cairn.update_item('typmods', '{"id": "a"}', '{"price": 2.999}', return_values => 'ALL_NEW');

-- domains
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN required AS text NOT NULL;
CREATE TABLE domains (id text COLLATE "C" PRIMARY KEY, n positive, r required, attributes jsonb) USING cairn;
SELECT cairn.put_item('domains', '{"id": "a", "n": 1, "r": "x"}');
SELECT cairn.put_item('domains', '{"id": "a", "n": 0, "r": "x"}');
SELECT cairn.put_item('domains', '{"id": "a", "n": 1}');
SELECT cairn.put_item('domains', '{"id": "a", "n": 1, "r": null}');
SELECT cairn.update_item('domains', '{"id": "a"}', '{"n": -1}');
SELECT cairn.update_item('domains', '{"id": "a"}', '{"n": 2, "other": true}', return_values => 'ALL_NEW');
SELECT cairn.update_item('domains', '{"id": "a"}', remove_attributes => '{r}');
SELECT cairn.update_item('domains', '{"id": "new"}', '{"n": 2}');
SELECT cairn.get_item('domains', '{"id": "new"}') IS NULL AS not_created;

-- NOT NULL
CREATE TABLE not_nulls (id text COLLATE "C" PRIMARY KEY, n integer NOT NULL, m integer) USING cairn;
SELECT cairn.put_item('not_nulls', '{"id": "a", "n": 1}');
SELECT cairn.put_item('not_nulls', '{"id": "a", "m": 1}');
SELECT cairn.put_item('not_nulls', '{"id": "a", "n": null}');
SELECT cairn.update_item('not_nulls', '{"id": "a"}', remove_attributes => '{n}');
SELECT cairn.update_item('not_nulls', '{"id": "a"}', '{"n": null}');
SELECT cairn.update_item('not_nulls', '{"id": "a"}', '{"m": 2}', return_values => 'ALL_NEW');
SELECT cairn.update_item('not_nulls', '{"id": "b"}', '{"m": 2}');
SELECT cairn.update_item('not_nulls', '{"id": "b"}', '{"n": 2}', return_values => 'ALL_NEW');
SELECT cairn.batch_write_item('not_nulls', '[{"id": "c", "n": 1}, {"id": "d"}]');
SELECT count(*) FROM cairn.scan('not_nulls');

-- CHECK
CREATE TABLE checks (id text COLLATE "C" PRIMARY KEY, low integer, high integer, attributes jsonb, CONSTRAINT ordered CHECK (low <= high), CONSTRAINT small CHECK ((attributes->>'size')::int < 100)) USING cairn;
SELECT cairn.put_item('checks', '{"id": "a", "low": 1, "high": 2, "size": 5}');
SELECT cairn.put_item('checks', '{"id": "a", "low": 3, "high": 2}');
SELECT cairn.put_item('checks', '{"id": "a", "low": 1, "high": 2, "size": 500}');
SELECT cairn.update_item('checks', '{"id": "a"}', '{"low": 3}');
SELECT cairn.update_item('checks', '{"id": "a"}', '{"low": 2}', '{size}', '{"equals": {"size": 5}}', 'ALL_NEW');
SELECT cairn.update_item('checks', '{"id": "a"}', '{"low": 1}', condition => '{"equals": {"low": 1}}');
SELECT cairn.batch_write_item('checks', '[{"id": "b", "low": 1, "high": 2}, {"id": "c", "low": 3, "high": 2}]');
SELECT cairn.batch_write_item('checks', '[{"id": "b", "low": 1, "high": 2}]', '[{"id": "a"}]');
SELECT * FROM cairn.scan('checks');

-- generated columns are computed, and no input
CREATE TABLE generated (id text COLLATE "C" PRIMARY KEY, n integer, twice integer GENERATED ALWAYS AS (n * 2) STORED, always integer GENERATED ALWAYS AS IDENTITY (START 7)) USING cairn;
ALTER TABLE generated ALTER always DROP IDENTITY, ALTER always DROP NOT NULL;
SELECT cairn.put_item('generated', '{"id": "a", "n": 4}');
SELECT cairn.get_item('generated', '{"id": "a"}');
SELECT cairn.update_item('generated', '{"id": "a"}', '{"n": 5}', return_values => 'ALL_NEW');
SELECT cairn.put_item('generated', '{"id": "a", "twice": 4}');
SELECT cairn.update_item('generated', '{"id": "a"}', '{"twice": 5}');
SELECT cairn.delete_item('generated', '{"id": "a"}', '{"equals": {"twice": 10}}', 'ALL_OLD');

-- BEFORE triggers see and may change the row, or prevent the write
CREATE TABLE triggered (id text COLLATE "C" PRIMARY KEY, n integer, note text, attributes jsonb) USING cairn;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_LEVEL = 'STATEMENT' THEN
        RAISE NOTICE '% % STATEMENT', TG_WHEN, TG_OP;
        RETURN NULL;
    END IF;
    RAISE NOTICE '% % old % new %', TG_WHEN, TG_OP, CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END, CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    IF TG_WHEN = 'AFTER' THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN CASE WHEN OLD.n = 13 THEN NULL ELSE OLD END;
    END IF;
    IF NEW.n = 13 AND TG_OP = 'UPDATE' THEN
        RETURN NULL;
    END IF;
    IF NEW.n = 99 THEN
        NEW.id := 'other';
    END IF;
    NEW.note := 'by trigger';
    RETURN NEW;
END $$;
CREATE TRIGGER before_row BEFORE INSERT OR UPDATE OR DELETE ON triggered FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER before_statement BEFORE INSERT OR UPDATE OR DELETE ON triggered FOR EACH STATEMENT EXECUTE FUNCTION tell();
CREATE TRIGGER after_statement AFTER INSERT OR UPDATE OR DELETE ON triggered FOR EACH STATEMENT EXECUTE FUNCTION tell();
CREATE TRIGGER of_column BEFORE UPDATE OF note ON triggered FOR EACH ROW WHEN (NEW.n = 50) EXECUTE FUNCTION tell();
SELECT cairn.put_item('triggered', '{"id": "a", "n": 1, "extra": true}');
SELECT cairn.get_item('triggered', '{"id": "a"}');
SELECT cairn.put_item('triggered', '{"id": "a", "n": 2}', return_values => 'ALL_OLD');
SELECT cairn.update_item('triggered', '{"id": "a"}', '{"n": 13}', return_values => 'ALL_NEW') IS NULL AS prevented;
SELECT cairn.update_item('triggered', '{"id": "a"}', '{"n": 50}') IS NULL AS of_column_is_quiet;
SELECT cairn.put_item('triggered', '{"id": "b", "n": 13}');
SELECT cairn.delete_item('triggered', '{"id": "b"}');
SELECT cairn.delete_item('triggered', '{"id": "a"}');
SELECT cairn.put_item('triggered', '{"id": "c", "n": 99}');
SELECT * FROM cairn.scan('triggered');
DROP TRIGGER before_row ON triggered;
DROP TRIGGER before_statement ON triggered;
DROP TRIGGER after_statement ON triggered;
DROP TRIGGER of_column ON triggered;

-- a trigger that is disabled does not fire
CREATE TRIGGER before_row BEFORE INSERT OR UPDATE OR DELETE ON triggered FOR EACH ROW EXECUTE FUNCTION tell();
ALTER TABLE triggered DISABLE TRIGGER before_row;
SELECT cairn.put_item('triggered', '{"id": "d", "n": 1}');
SELECT cairn.get_item('triggered', '{"id": "d"}');
DROP TRIGGER before_row ON triggered;

-- AFTER ROW triggers get the row before and the row after, also of what this transaction wrote
CREATE TABLE audited (id text COLLATE "C" PRIMARY KEY, n integer, attributes jsonb) USING cairn;
CREATE TRIGGER after_row AFTER INSERT OR UPDATE OR DELETE ON audited FOR EACH ROW EXECUTE FUNCTION tell();
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT OR UPDATE OR DELETE ON audited INITIALLY DEFERRED FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION tell();
SELECT cairn.put_item('audited', '{"id": "a", "n": 1, "extra": true}');
SELECT cairn.put_item('audited', '{"id": "a", "n": 2}');
BEGIN;
SELECT cairn.update_item('audited', '{"id": "a"}', '{"n": 3}'), cairn.update_item('audited', '{"id": "a"}', '{"n": 4}');
SELECT cairn.delete_item('audited', '{"id": "a"}');
COMMIT;
CREATE TRIGGER transition AFTER INSERT ON audited REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION tell();
SELECT cairn.put_item('audited', '{"id": "b", "n": 1}');
SELECT * FROM cairn.scan('audited');

-- column defaults are for INSERT: an attribute that is not put is absent, and stays so
CREATE TABLE defaulted (
    id text COLLATE "C" PRIMARY KEY, n integer DEFAULT 5, made timestamptz DEFAULT now(), s serial,
    d integer GENERATED BY DEFAULT AS IDENTITY, attributes jsonb DEFAULT '{"from": "default"}'
) USING cairn;
ALTER TABLE defaulted ALTER s DROP NOT NULL, ALTER made DROP NOT NULL;
INSERT INTO defaulted (id) VALUES ('sql');
SELECT cairn.put_item('defaulted', '{"id": "given", "n": 1, "d": 70, "k": 1}');
SELECT cairn.put_item('defaulted', '{"id": "absent"}');
SELECT cairn.update_item('defaulted', '{"id": "absent"}', '{"k": 1}');
SELECT cairn.batch_write_item('defaulted', '[{"id": "absent"}]');
SELECT cairn.put_item('defaulted', '{"id": "sql", "d": 1}', '{"attribute_exists": "n"}');
SELECT id, n, made IS NULL AS no_time, s, d, attributes FROM defaulted ORDER BY id;
ALTER TABLE defaulted ALTER d DROP IDENTITY, ALTER d DROP NOT NULL;
SELECT cairn.put_item('defaulted', '{"id": "absent"}');
SELECT cairn.update_item('defaulted', '{"id": "new"}', '{"k": 1}');
SELECT cairn.batch_write_item('defaulted', '[{"id": "batch"}]');
SELECT id, n, made IS NULL AS no_time, s, d, attributes FROM defaulted ORDER BY id;
SELECT cairn.get_item('defaulted', '{"id": "absent"}');
CREATE TABLE identities (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n integer GENERATED ALWAYS AS IDENTITY) USING cairn;
INSERT INTO identities DEFAULT VALUES;
SELECT cairn.put_item('identities', '{"id": 1, "n": 2}');
SELECT cairn.put_item('identities', '{"id": 1}');
SELECT cairn.update_item('identities', '{"id": 1}', '{"n": 2}');
ALTER TABLE identities ALTER n SET GENERATED BY DEFAULT;
SELECT cairn.put_item('identities', '{"id": 1, "n": 2}');
SELECT * FROM identities;
-- a trigger fills in what is to be filled in for everybody
CREATE FUNCTION fill_in() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := coalesce(NEW.n, 5); RETURN NEW; END $$;
CREATE TRIGGER fill_in BEFORE INSERT OR UPDATE ON defaulted FOR EACH ROW EXECUTE FUNCTION fill_in();
SELECT cairn.put_item('defaulted', '{"id": "filled"}');
SELECT cairn.get_item('defaulted', '{"id": "filled"}');

-- ADD COLUMN ... DEFAULT: older items have the default, NULL stays NULL, conditions and updates see both
CREATE TABLE grown (id text COLLATE "C" PRIMARY KEY, attributes jsonb) USING cairn;
SELECT cairn.put_item('grown', '{"id": "old", "x": 1}');
ALTER TABLE grown ADD COLUMN n integer DEFAULT 5, ADD COLUMN j jsonb DEFAULT '{"d": 1}';
SELECT cairn.get_item('grown', '{"id": "old"}');
SELECT cairn.put_item('grown', '{"id": "new", "j": null}');
SELECT cairn.get_item('grown', '{"id": "new"}');
SELECT cairn.update_item('grown', '{"id": "old"}', '{"x": 2}', condition => '{"equals": {"n": 5}, "attribute_exists": "j"}', return_values => 'ALL_NEW');
SELECT cairn.update_item('grown', '{"id": "new"}', '{"x": 2}', condition => '{"attribute_exists": "n"}');
SELECT cairn.update_item('grown', '{"id": "old"}', remove_attributes => '{n,j}', return_values => 'ALL_NEW');
SELECT * FROM cairn.batch_get_item('grown', '[{"id": "old"}, {"id": "new"}]');
SELECT * FROM grown ORDER BY id;
ALTER TABLE grown DROP COLUMN n;
SELECT * FROM cairn.batch_get_item('grown', '[{"id": "old"}, {"id": "new"}]');

-- privileges
CREATE TABLE guarded (id text COLLATE "C" PRIMARY KEY, n integer) USING cairn;
CREATE ROLE cairn_test_role;
SET ROLE cairn_test_role;
SELECT cairn.get_item('guarded', '{"id": "a"}');
SELECT cairn.put_item('guarded', '{"id": "a"}');
RESET ROLE;
GRANT INSERT ON guarded TO cairn_test_role;
SET ROLE cairn_test_role;
SELECT cairn.put_item('guarded', '{"id": "a"}');
RESET ROLE;
GRANT UPDATE ON guarded TO cairn_test_role;
SET ROLE cairn_test_role;
SELECT cairn.put_item('guarded', '{"id": "a"}');
SELECT cairn.put_item('guarded', '{"id": "a"}', return_values => 'ALL_OLD');
SELECT cairn.put_item('guarded', '{"id": "a"}', '{"attribute_exists": "id"}');
SELECT cairn.update_item('guarded', '{"id": "a"}', '{"n": 1}');
SELECT cairn.update_item('guarded', '{"id": "a"}', '{"n": 1}', return_values => 'ALL_NEW');
SELECT cairn.delete_item('guarded', '{"id": "a"}');
SELECT cairn.scan('guarded');
SELECT cairn.query('guarded', '"a"');
SELECT cairn.batch_get_item('guarded', '[]');
SELECT cairn.batch_write_item('guarded', '[{"id": "b"}]');
SELECT cairn.batch_write_item('guarded', deletes => '[{"id": "b"}]');
SELECT cairn.key_of('guarded', '{"id": "a"}');
RESET ROLE;
GRANT SELECT, DELETE ON guarded TO cairn_test_role;
SET ROLE cairn_test_role;
SELECT cairn.delete_item('guarded', '{"id": "a"}', return_values => 'ALL_OLD');
SELECT cairn.scan('guarded');
RESET ROLE;

-- row security: what USING hides is not there, what WITH CHECK refuses cannot be written
CREATE TABLE secured (id text COLLATE "C" PRIMARY KEY, owner text, n integer, attributes jsonb) USING cairn;
GRANT SELECT, INSERT, UPDATE, DELETE ON secured TO cairn_test_role;
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON secured USING (owner = current_user);
CREATE POLICY shared ON secured FOR SELECT USING (attributes @> '{"shared": true}');
CREATE POLICY small ON secured AS RESTRICTIVE FOR INSERT WITH CHECK (n < 100);
SELECT cairn.batch_write_item('secured', '[{"id": "a", "owner": "cairn_test_role", "n": 1}, {"id": "b", "owner": "other", "n": 2}, {"id": "c", "owner": "other", "n": 300, "shared": true}]') AS owner_bypasses;
SET ROLE cairn_test_role;
SELECT cairn.get_item('secured', '{"id": "a"}'), cairn.get_item('secured', '{"id": "b"}');
SELECT * FROM cairn.scan('secured') i ORDER BY i->>'id';
SELECT * FROM cairn.query('secured', '"b"');
SELECT * FROM cairn.batch_get_item('secured', '[{"id": "a"}, {"id": "b"}, {"id": "c"}]');
SELECT cairn.put_item('secured', '{"id": "d", "owner": "cairn_test_role", "n": 4}', return_values => 'ALL_OLD') IS NULL AS put;
SELECT cairn.put_item('secured', '{"id": "e", "owner": "other", "n": 5}');
SELECT cairn.put_item('secured', '{"id": "e", "owner": "cairn_test_role", "n": 500}');
SELECT cairn.put_item('secured', '{"id": "b", "owner": "cairn_test_role"}');
SELECT cairn.put_item('secured', '{"id": "b", "owner": "cairn_test_role"}', '{"attribute_not_exists": "id"}');
SELECT cairn.update_item('secured', '{"id": "c"}', '{"n": 1}');
SELECT cairn.update_item('secured', '{"id": "a"}', '{"n": 500}', return_values => 'ALL_NEW');
SELECT cairn.update_item('secured', '{"id": "a"}', '{"owner": "other"}');
SELECT cairn.delete_item('secured', '{"id": "b"}', return_values => 'ALL_OLD') IS NULL AS nothing_deleted;
SELECT cairn.delete_item('secured', '{"id": "b"}', '{"attribute_exists": "id"}');
SELECT cairn.delete_item('secured', '{"id": "d"}', return_values => 'ALL_OLD');
SET row_security = off;
SELECT cairn.get_item('secured', '{"id": "b"}');
RESET row_security;
RESET ROLE;
SELECT * FROM cairn.scan('secured') i ORDER BY i->>'id';
CREATE POLICY sub ON secured FOR SELECT USING (n IN (SELECT 1));
SET ROLE cairn_test_role;
SELECT cairn.get_item('secured', '{"id": "b"}');
RESET ROLE;

-- rewrite rules
CREATE RULE quiet AS ON INSERT TO not_nulls DO INSTEAD NOTHING;
SELECT cairn.put_item('not_nulls', '{"id": "z", "n": 1}');
SELECT cairn.get_item('not_nulls', '{"id": "z"}') IS NULL AS not_there;

-- read-only transactions
BEGIN READ ONLY;
SELECT cairn.get_item('checks', '{"id": "b"}');
SELECT cairn.put_item('checks', '{"id": "b"}');
ROLLBACK;

-- isolation: REPEATABLE READ sees its snapshot; SERIALIZABLE is refused
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT cairn.get_item('checks', '{"id": "b"}');
SELECT cairn.update_item('checks', '{"id": "b"}', '{"high": 9}', return_values => 'ALL_NEW');
SELECT cairn.get_item('checks', '{"id": "b"}');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT cairn.put_item('checks', '{"id": "b"}');
ROLLBACK;

DROP TABLE typmods, domains, not_nulls, checks, generated, triggered, audited, defaulted, identities, grown, guarded, secured;
DROP FUNCTION tell, fill_in;
DROP DOMAIN positive, required;
DROP ROLE cairn_test_role;
