-- Events by month, and over them the logical tables that queries of reports read: what an app keeps in tables of its own is
-- here what was done. So the very same queries answer, from events instead. Users are keyed hashes, as hexadecimal digits.
CREATE SCHEMA IF NOT EXISTS balancer_events;
CREATE TABLE IF NOT EXISTS balancer_events.meta (key text PRIMARY KEY, value text NOT NULL);
CREATE TABLE IF NOT EXISTS balancer_events.event (
  id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, name text NOT NULL, usr bigint, visitor bigint,
  status int NOT NULL, duration bigint NOT NULL, size bigint NOT NULL, dims jsonb NOT NULL DEFAULT '{}') PARTITION BY RANGE (at);
CREATE INDEX IF NOT EXISTS event_name ON balancer_events.event (name, at);
CREATE INDEX IF NOT EXISTS event_user ON balancer_events.event (usr, at) WHERE usr IS NOT NULL;
CREATE INDEX IF NOT EXISTS event_post ON balancer_events.event ((dims->>'post'), name) WHERE dims ? 'post';
CREATE INDEX IF NOT EXISTS event_report ON balancer_events.event ((dims->>'report'), name) WHERE dims ? 'report';
CREATE TABLE IF NOT EXISTS balancer_events.excluded (day date NOT NULL, why text NOT NULL, n bigint NOT NULL, PRIMARY KEY (day, why));

CREATE OR REPLACE FUNCTION balancer_events.shown(usr bigint) RETURNS text LANGUAGE sql IMMUTABLE
  AS $$ SELECT lpad(to_hex(usr), 16, '0') $$;

CREATE OR REPLACE VIEW balancer_events.users AS
  SELECT balancer_events.shown(usr) AS id, min(at) FILTER (WHERE name = 'user_registered') AS created_at, max(at) AS last_seen_at,
         max(at) FILTER (WHERE name = 'user_deleted') AS deleted_at
  FROM balancer_events.event WHERE usr IS NOT NULL GROUP BY usr;

CREATE OR REPLACE VIEW balancer_events.communities AS
  SELECT dims->>'community' AS id, min(at) FILTER (WHERE name = 'community_created') AS created_at,
         max(at) FILTER (WHERE name = 'community_closed') AS deleted_at
  FROM balancer_events.event WHERE dims ? 'community' GROUP BY 1;

CREATE OR REPLACE VIEW balancer_events.memberships AS
  SELECT dims->>'community' AS community_id, balancer_events.shown(usr) AS user_id,
         CASE WHEN name = 'community_joined' THEN at END AS joined_at, CASE WHEN name = 'community_left' THEN at END AS left_at
  FROM balancer_events.event WHERE name IN ('community_joined', 'community_left') AND dims ? 'community';

-- The first event of a post is its creation: what was tried again has been left out before, or is another post.
CREATE OR REPLACE VIEW balancer_events.posts AS
  SELECT coalesce(p.dims->>'post', '#' || p.id) AS id, p.dims->>'community' AS community_id,
         balancer_events.shown(p.usr) AS author_id, p.at AS created_at,
         (SELECT min(d.at) FROM balancer_events.event d WHERE d.name = 'post_deleted' AND d.dims ? 'post'
            AND d.dims->>'post' = p.dims->>'post') AS deleted_at,
         (SELECT CASE WHEN m.dims->>'action' = 'remove_post' THEN m.at END FROM balancer_events.event m
           WHERE m.name = 'moderation_action' AND m.dims ? 'post' AND m.dims->>'post' = p.dims->>'post'
             AND m.dims->>'action' IN ('remove_post', 'restore', 'restore_post') ORDER BY m.at DESC, m.id DESC LIMIT 1) AS removed_at
  FROM balancer_events.event p WHERE p.name = 'post_created';

CREATE OR REPLACE VIEW balancer_events.comments AS
  SELECT id, dims->>'post' AS post_id, balancer_events.shown(usr) AS author_id, at AS created_at
  FROM balancer_events.event WHERE name = 'comment_created';

CREATE OR REPLACE VIEW balancer_events.reactions AS
  SELECT balancer_events.shown(usr) AS user_id, dims->>'post' AS target_id, at AS created_at
  FROM balancer_events.event WHERE name = 'reaction_added';

CREATE OR REPLACE VIEW balancer_events.reports AS
  SELECT coalesce(r.dims->>'report', '#' || r.id) AS id, balancer_events.shown(r.usr) AS reporter_id, r.dims->>'target_type' AS target_type,
         ltrim(r.dims->>'target_user', '~') AS target_user_id, r.dims->>'community' AS community_id, r.dims->>'reason' AS reason,
         CASE WHEN e.at IS NULL THEN 'open' ELSE e.dims->>'outcome' END AS status, r.at AS created_at, e.at AS resolved_at
  FROM balancer_events.event r LEFT JOIN LATERAL (
    SELECT x.at, x.dims FROM balancer_events.event x WHERE x.name = 'report_resolved' AND x.dims ? 'report'
      AND x.dims->>'report' = r.dims->>'report' ORDER BY x.at, x.id LIMIT 1) e ON true
  WHERE r.name = 'report_filed';

CREATE OR REPLACE VIEW balancer_events.moderation_actions AS
  SELECT id, balancer_events.shown(usr) AS moderator_id, dims->>'community' AS community_id, coalesce(dims->>'action', 'action') AS action,
         dims->>'report' AS report_id, at AS created_at, coalesce(dims->>'automated', '') = '1' AS automated
  FROM balancer_events.event WHERE name = 'moderation_action';

-- Whoever was seen at all, as if each time were a post: what `active=seen` counts.
CREATE OR REPLACE VIEW balancer_events.seen AS
  SELECT id, NULL::text AS community_id, balancer_events.shown(usr) AS author_id, at AS created_at
  FROM balancer_events.event WHERE usr IS NOT NULL;
