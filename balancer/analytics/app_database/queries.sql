-- The queries of reports, over the logical tables that `mapping` makes. Parameters by name: since, until (timestamptz),
-- starts (timestamptz[], the begins of all buckets), days (date[], the local days), interval, zone (text), top (int),
-- community (text or NULL). `-- name:` begins one, `-- of:` says which tables it reads.
-- width_bucket finds a moment's bucket, so that buckets are what Python has made of the zone, in every hour of a change.

-- name: user_growth.series
-- of: users
WITH b AS (SELECT s AS start, k FROM unnest(:starts::timestamptz[]) WITH ORDINALITY AS u(s, k)),
 s AS (SELECT width_bucket(created_at, :starts::timestamptz[]) k, count(*) n FROM users
        WHERE created_at >= :since AND created_at < :until AND NOT is_bot GROUP BY 1),
 d AS (SELECT width_bucket(deleted_at, :starts::timestamptz[]) k, count(*) n FROM users
        WHERE deleted_at >= :since AND deleted_at < :until AND NOT is_bot GROUP BY 1),
 base AS (SELECT count(*) n FROM users
          WHERE created_at < :since AND (deleted_at IS NULL OR deleted_at >= :since) AND NOT is_bot)
SELECT b.start, coalesce(s.n, 0) AS new_users, coalesce(d.n, 0) AS deleted_users,
       coalesce(s.n, 0) - coalesce(d.n, 0) AS net,
       (base.n + sum(coalesce(s.n, 0) - coalesce(d.n, 0)) OVER (ORDER BY b.k))::bigint AS total_users
FROM b LEFT JOIN s USING (k) LEFT JOIN d USING (k) CROSS JOIN base ORDER BY b.k

-- name: user_growth.activation
-- of: users posts comments
WITH c AS (SELECT id, created_at FROM users
           WHERE created_at >= :since AND created_at < least(:until, now() - interval '7 days') AND NOT is_bot)
SELECT count(*) AS eligible, count(*) FILTER (WHERE
   EXISTS (SELECT 1 FROM posts p WHERE p.author_id = c.id AND p.created_at >= c.created_at
           AND p.created_at < c.created_at + interval '7 days') OR
   EXISTS (SELECT 1 FROM comments m WHERE m.author_id = c.id AND m.created_at >= c.created_at
           AND m.created_at < c.created_at + interval '7 days')) AS activated FROM c

-- name: user_growth.retention
-- of: users posts comments reactions
WITH c AS (SELECT id, date_trunc('week', created_at AT TIME ZONE :zone::text) w FROM users
           WHERE created_at >= :since AND created_at < :until AND NOT is_bot),
 x AS (SELECT author_id AS user_id, created_at AS at FROM posts
       UNION ALL SELECT author_id, created_at FROM comments UNION ALL SELECT user_id, created_at FROM reactions),
 a AS (SELECT DISTINCT user_id, date_trunc('week', at AT TIME ZONE :zone::text) w FROM x
       WHERE user_id IS NOT NULL AND at >= :since AND at < :until::timestamptz + interval '12 weeks'),
 n AS (SELECT w, count(*) AS size FROM c GROUP BY 1)
SELECT c.w::date AS cohort, n.size, (extract(epoch FROM a.w - c.w) / 604800)::int AS week, count(*) AS retained,
       round(count(*)::numeric / n.size, 4)::float8 AS rate
FROM c JOIN a ON a.user_id = c.id AND a.w >= c.w AND a.w < c.w + interval '12 weeks' JOIN n ON n.w = c.w
GROUP BY c.w, n.size, week ORDER BY 1, 3

-- name: post_activity.series
-- of: posts comments reactions
WITH b AS (SELECT s AS start, k FROM unnest(:starts::timestamptz[]) WITH ORDINALITY AS u(s, k)),
 p AS (SELECT width_bucket(created_at, :starts::timestamptz[]) k, count(*) n, count(DISTINCT author_id) a,
              count(*) FILTER (WHERE removed_at IS NOT NULL) r FROM posts
        WHERE created_at >= :since AND created_at < :until
          AND (:community::text IS NULL OR community_id::text = :community) GROUP BY 1),
 c AS (SELECT width_bucket(m.created_at, :starts::timestamptz[]) k, count(*) n, count(DISTINCT m.author_id) a FROM comments m
        WHERE m.created_at >= :since AND m.created_at < :until AND (:community::text IS NULL OR EXISTS (
          SELECT 1 FROM posts o WHERE o.id = m.post_id AND o.community_id::text = :community)) GROUP BY 1),
 r AS (SELECT width_bucket(t.created_at, :starts::timestamptz[]) k, count(*) n FROM reactions t
        WHERE t.created_at >= :since AND t.created_at < :until AND (:community::text IS NULL OR EXISTS (
          SELECT 1 FROM posts o WHERE o.id::text = t.target_id::text AND coalesce(t.target_type, 'post') = 'post'
            AND o.community_id::text = :community)) GROUP BY 1)
SELECT b.start, coalesce(p.n, 0) AS posts, coalesce(p.a, 0) AS post_authors, coalesce(p.r, 0) AS posts_removed,
       coalesce(c.n, 0) AS comments, coalesce(c.a, 0) AS comment_authors, coalesce(r.n, 0) AS reactions
FROM b LEFT JOIN p USING (k) LEFT JOIN c USING (k) LEFT JOIN r USING (k) ORDER BY b.k

-- name: post_activity.first_response
-- of: posts comments
WITH f AS (SELECT p.id, extract(epoch FROM min(c.created_at) - p.created_at) AS s
           FROM posts p LEFT JOIN comments c
             ON c.post_id = p.id AND c.author_id IS NOT NULL AND c.author_id IS DISTINCT FROM p.author_id
            AND c.deleted_at IS NULL
           WHERE p.created_at >= :since AND p.created_at < :until AND p.deleted_at IS NULL AND p.removed_at IS NULL
             AND (:community::text IS NULL OR p.community_id::text = :community)
           GROUP BY p.id, p.created_at)
SELECT count(*) AS posts, count(s) AS answered, count(*) - count(s) AS unanswered, round(avg(s))::bigint AS mean_s,
       round(percentile_cont(0.5) WITHIN GROUP (ORDER BY s)::numeric)::bigint AS median_s,
       round(percentile_cont(0.9) WITHIN GROUP (ORDER BY s)::numeric)::bigint AS p90_s FROM f

-- name: post_activity.heatmap
-- of: posts
SELECT extract(isodow FROM created_at AT TIME ZONE :zone::text)::int AS isodow,
       extract(hour FROM created_at AT TIME ZONE :zone::text)::int AS hour, count(*) AS posts
FROM posts WHERE created_at >= :since AND created_at < :until
  AND (:community::text IS NULL OR community_id::text = :community) GROUP BY 1, 2 ORDER BY 1, 2

-- name: post_activity.top
-- of: posts comments reactions
WITH p AS (SELECT * FROM posts WHERE created_at >= :since AND created_at < :until AND deleted_at IS NULL
             AND removed_at IS NULL AND (:community::text IS NULL OR community_id::text = :community)),
 c AS (SELECT c.post_id, count(*) n FROM comments c JOIN p ON p.id = c.post_id
       WHERE c.created_at >= :since AND c.created_at < :until GROUP BY 1),
 r AS (SELECT p.id, count(*) n FROM reactions t JOIN p ON p.id::text = t.target_id::text
       WHERE t.created_at >= :since AND t.created_at < :until AND coalesce(t.target_type, 'post') = 'post' GROUP BY 1)
SELECT p.id, p.title, p.community_id, p.author_id, p.created_at, coalesce(c.n, 0) AS comments,
       coalesce(r.n, 0) AS reactions, 2 * coalesce(c.n, 0) + coalesce(r.n, 0) AS score
FROM p LEFT JOIN c ON c.post_id = p.id LEFT JOIN r ON r.id = p.id ORDER BY score DESC, p.id LIMIT :top::int

-- name: community_growth.series
-- of: communities memberships
WITH b AS (SELECT s AS start, k FROM unnest(:starts::timestamptz[]) WITH ORDINALITY AS u(s, k)),
 n AS (SELECT width_bucket(created_at, :starts::timestamptz[]) k, count(*) n FROM communities
        WHERE created_at >= :since AND created_at < :until AND (:community::text IS NULL OR id::text = :community) GROUP BY 1),
 x AS (SELECT width_bucket(deleted_at, :starts::timestamptz[]) k, count(*) n FROM communities
        WHERE deleted_at >= :since AND deleted_at < :until AND (:community::text IS NULL OR id::text = :community) GROUP BY 1),
 j AS (SELECT width_bucket(joined_at, :starts::timestamptz[]) k, count(*) n FROM memberships
        WHERE joined_at >= :since AND joined_at < :until
          AND (:community::text IS NULL OR community_id::text = :community) GROUP BY 1),
 l AS (SELECT width_bucket(left_at, :starts::timestamptz[]) k, count(*) n FROM memberships
        WHERE left_at >= :since AND left_at < :until
          AND (:community::text IS NULL OR community_id::text = :community) GROUP BY 1),
 base AS (SELECT (SELECT count(*) FROM communities
                   WHERE created_at < :since AND (deleted_at IS NULL OR deleted_at >= :since)
                     AND (:community::text IS NULL OR id::text = :community)) c,
                 (SELECT count(*) FROM memberships
                   WHERE joined_at < :since AND (left_at IS NULL OR left_at >= :since)
                     AND (:community::text IS NULL OR community_id::text = :community)) m)
SELECT b.start, coalesce(n.n, 0) AS new_communities, coalesce(x.n, 0) AS closed_communities,
       (base.c + sum(coalesce(n.n, 0) - coalesce(x.n, 0)) OVER (ORDER BY b.k))::bigint AS total_communities,
       coalesce(j.n, 0) AS joins, coalesce(l.n, 0) AS leaves,
       (base.m + sum(coalesce(j.n, 0) - coalesce(l.n, 0)) OVER (ORDER BY b.k))::bigint AS total_memberships
FROM b LEFT JOIN n USING (k) LEFT JOIN x USING (k) LEFT JOIN j USING (k) LEFT JOIN l USING (k) CROSS JOIN base
ORDER BY b.k

-- name: community_growth.fastest
-- of: communities memberships
WITH m AS (SELECT community_id,
             count(*) FILTER (WHERE joined_at < :since AND (left_at IS NULL OR left_at >= :since)) AS before,
             count(*) FILTER (WHERE joined_at >= :since AND joined_at < :until) AS joins,
             count(*) FILTER (WHERE left_at >= :since AND left_at < :until) AS leaves FROM memberships GROUP BY 1)
SELECT c.id, c.slug, c.name, m.before AS members_start, m.before + m.joins - m.leaves AS members_end, m.joins, m.leaves,
       CASE WHEN m.before >= 20 THEN round((m.joins - m.leaves)::numeric / m.before, 4)::float8 END AS growth_rate
FROM communities c JOIN m ON m.community_id = c.id WHERE c.deleted_at IS NULL
ORDER BY m.joins - m.leaves DESC, c.id LIMIT :top::int

-- name: engagement.active_users
-- of: posts comments reactions
-- A user counts from a day on which they were active until 7 (30) days later or the next such day: no pair of a user
-- and a day is looked at more than once, however long the period.
WITH x AS (SELECT author_id AS user_id, created_at AS at FROM posts
           UNION ALL SELECT author_id, created_at FROM comments UNION ALL SELECT user_id, created_at FROM reactions),
 a AS (SELECT DISTINCT user_id, (at AT TIME ZONE :zone::text)::date AS day FROM x
       WHERE user_id IS NOT NULL AND at >= :since::timestamptz - interval '31 days' AND at < :until),
 w AS (SELECT day, lead(day) OVER (PARTITION BY user_id ORDER BY day) AS next FROM a),
 e AS (SELECT day, 1 AS dau, 1 AS wau, 1 AS mau FROM w
       UNION ALL SELECT day + 1, -1, 0, 0 FROM w
       UNION ALL SELECT least(day + 7, coalesce(next, day + 7)), 0, -1, 0 FROM w
       UNION ALL SELECT least(day + 30, coalesce(next, day + 30)), 0, 0, -1 FROM w),
 s AS (SELECT day, sum(dau) AS dau, sum(wau) AS wau, sum(mau) AS mau FROM e GROUP BY 1),
 d AS (SELECT day FROM unnest(:days::date[]) AS u(day)),
 t AS (SELECT day, sum(dau) OVER o AS dau, sum(wau) OVER o AS wau, sum(mau) OVER o AS mau, real FROM (
         SELECT day, dau, wau, mau, false AS real FROM s UNION ALL SELECT day, 0, 0, 0, true FROM d) q
       WINDOW o AS (ORDER BY day))
SELECT day, dau::bigint, wau::bigint, mau::bigint, round(dau::numeric / nullif(mau, 0), 4)::float8 AS stickiness
FROM t WHERE real ORDER BY day

-- name: engagement.lifecycle
-- of: posts comments reactions
WITH x AS (SELECT author_id AS user_id, created_at AS at FROM posts
           UNION ALL SELECT author_id, created_at FROM comments UNION ALL SELECT user_id, created_at FROM reactions),
 a AS (SELECT DISTINCT user_id, date_trunc(:interval::text, at AT TIME ZONE :zone::text)::date AS k FROM x
       WHERE user_id IS NOT NULL AND at < :until),
 t AS (SELECT user_id, k, lag(k) OVER w AS prev FROM a WINDOW w AS (PARTITION BY user_id ORDER BY k)),
 u AS (SELECT k, count(*) AS n, count(*) FILTER (WHERE prev IS NULL) AS new,
              count(*) FILTER (WHERE prev = (k - ('1 ' || :interval::text)::interval)::date) AS again
       FROM t WHERE k >= (:days::date[])[1] - 62 GROUP BY 1)
SELECT k AS day, n, new, again FROM u ORDER BY k

-- name: engagement.depth
-- of: posts comments reactions
WITH a AS (SELECT user_id, sum(posts) p, sum(comments) c, sum(reactions) r FROM (
        SELECT author_id AS user_id, 1 posts, 0 comments, 0 reactions FROM posts
         WHERE created_at >= :since AND created_at < :until
        UNION ALL SELECT author_id, 0, 1, 0 FROM comments WHERE created_at >= :since AND created_at < :until
        UNION ALL SELECT user_id, 0, 0, 1 FROM reactions WHERE created_at >= :since AND created_at < :until) x
        WHERE user_id IS NOT NULL GROUP BY 1)
SELECT count(*) AS active_users, count(*) FILTER (WHERE p + c > 0) AS contributors, count(*) FILTER (WHERE p > 0) AS posters,
       count(*) FILTER (WHERE p + c = 0) AS reacting_only, round(avg(p + c + r), 2)::float8 AS actions_per_active_user,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY p + c + r) AS median_actions,
       round((SELECT sum(t) FROM (SELECT p + c AS t FROM a ORDER BY p + c DESC
              LIMIT greatest(1, (SELECT count(*) FROM a) / 100)) q) / nullif(sum(p + c), 0), 4)::float8
         AS top1pct_share_of_content FROM a

-- name: moderation.series
-- of: moderation_actions
WITH b AS (SELECT s AS start, k FROM unnest(:starts::timestamptz[]) WITH ORDINALITY AS u(s, k)),
 m AS (SELECT width_bucket(created_at, :starts::timestamptz[]) k, action, count(*) n, count(*) FILTER (WHERE automated) auto
       FROM moderation_actions WHERE created_at >= :since AND created_at < :until
         AND (:community::text IS NULL OR community_id::text = :community) GROUP BY 1, 2)
SELECT b.start, coalesce(sum(m.n), 0)::bigint AS actions, coalesce(sum(m.auto), 0)::bigint AS automated,
       coalesce(jsonb_object_agg(m.action, m.n) FILTER (WHERE m.action IS NOT NULL), '{}') AS by_action
FROM b LEFT JOIN m USING (k) GROUP BY b.k, b.start ORDER BY b.k

-- name: moderation.moderators
-- of: moderation_actions reports users
SELECT m.moderator_id, max(u.name) AS username, count(*) AS actions,
       count(*) FILTER (WHERE m.action LIKE 'remove%') AS removals,
       count(*) FILTER (WHERE m.action IN ('ban', 'mute')) AS sanctions, count(DISTINCT m.report_id) AS reports_handled,
       round(percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM m.created_at - r.created_at))::numeric)::bigint
         AS median_response_s
FROM moderation_actions m LEFT JOIN reports r ON r.id::text = m.report_id::text
  LEFT JOIN users u ON u.id::text = m.moderator_id::text
WHERE m.created_at >= :since AND m.created_at < :until AND m.moderator_id IS NOT NULL
  AND (:community::text IS NULL OR m.community_id::text = :community)
GROUP BY 1 ORDER BY 3 DESC, 1 LIMIT :top::int

-- name: moderation.quality
-- of: moderation_actions posts
SELECT count(*) FILTER (WHERE action LIKE 'remove%') AS removals, count(*) FILTER (WHERE action LIKE 'restore%') AS reversals,
       round(count(*) FILTER (WHERE action LIKE 'restore%')::numeric
             / nullif(count(*) FILTER (WHERE action LIKE 'remove%'), 0), 4)::float8 AS reversal_rate,
       (SELECT round(count(*) FILTER (WHERE removed_at IS NOT NULL)::numeric / nullif(count(*), 0), 4)::float8 FROM posts
         WHERE created_at >= :since AND created_at < :until
           AND (:community::text IS NULL OR community_id::text = :community)) AS removed_share_of_posts,
       round(avg(automated::int), 4)::float8 AS automated_share FROM moderation_actions
WHERE created_at >= :since AND created_at < :until AND (:community::text IS NULL OR community_id::text = :community)

-- name: reports.series
-- of: reports
WITH b AS (SELECT s AS start, k FROM unnest(:starts::timestamptz[]) WITH ORDINALITY AS u(s, k)),
 f AS (SELECT * FROM reports WHERE :community::text IS NULL OR community_id::text = :community),
 o AS (SELECT width_bucket(created_at, :starts::timestamptz[]) k, count(*) n FROM f
        WHERE created_at >= :since AND created_at < :until GROUP BY 1),
 r AS (SELECT width_bucket(resolved_at, :starts::timestamptz[]) k, count(*) n FROM f
        WHERE resolved_at >= :since AND resolved_at < :until GROUP BY 1),
 base AS (SELECT count(*) n FROM f WHERE created_at < :since AND (resolved_at IS NULL OR resolved_at >= :since))
SELECT b.start, coalesce(o.n, 0) AS opened, coalesce(r.n, 0) AS resolved,
       (base.n + sum(coalesce(o.n, 0) - coalesce(r.n, 0)) OVER (ORDER BY b.k))::bigint AS open_at_end
FROM b LEFT JOIN o USING (k) LEFT JOIN r USING (k) CROSS JOIN base ORDER BY b.k

-- name: reports.summary
-- of: reports
SELECT count(*) AS opened, count(resolved_at) AS resolved_of_opened, count(*) - count(resolved_at) AS still_open,
       count(*) FILTER (WHERE status = 'upheld') AS upheld, count(*) FILTER (WHERE status = 'rejected') AS rejected,
       count(*) FILTER (WHERE status = 'ignored') AS ignored,
       round(percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM resolved_at - created_at))::numeric)::bigint
         AS median_resolution_s,
       round(percentile_cont(0.9) WITHIN GROUP (ORDER BY extract(epoch FROM resolved_at - created_at))::numeric)::bigint
         AS p90_resolution_s,
       round(extract(epoch FROM now() - min(created_at) FILTER (WHERE resolved_at IS NULL)))::bigint AS oldest_open_age_s
FROM reports WHERE created_at >= :since AND created_at < :until
  AND (:community::text IS NULL OR community_id::text = :community)

-- name: reports.breakdown
-- of: reports
-- Reasons may be whatever people write, so that there is an end to them.
WITH f AS (SELECT * FROM reports WHERE created_at >= :since AND created_at < :until
             AND (:community::text IS NULL OR community_id::text = :community))
(SELECT 'reason' AS dimension, reason AS key, count(*) AS opened, count(*) FILTER (WHERE status = 'upheld') AS upheld
 FROM f GROUP BY 2 ORDER BY 3 DESC, 2 LIMIT 500)
UNION ALL (SELECT 'target_type', target_type, count(*), count(*) FILTER (WHERE status = 'upheld')
           FROM f GROUP BY 2 ORDER BY 3 DESC, 2 LIMIT 500)
UNION ALL (SELECT 'community', community_id::text, count(*), count(*) FILTER (WHERE status = 'upheld')
           FROM f GROUP BY 2 ORDER BY 3 DESC, 2 LIMIT :top::int)

-- name: communities.table
-- of: communities memberships posts comments reports
WITH p AS (SELECT community_id, count(*) n FROM posts WHERE created_at >= :since AND created_at < :until GROUP BY 1),
 w AS (SELECT o.community_id, m.author_id FROM comments m JOIN posts o ON o.id = m.post_id
       WHERE m.created_at >= :since AND m.created_at < :until),
 c AS (SELECT community_id, count(*) n FROM w GROUP BY 1),
 act AS (SELECT community_id, count(DISTINCT user_id) n FROM (
        SELECT community_id, author_id AS user_id FROM posts WHERE created_at >= :since AND created_at < :until
        UNION ALL SELECT community_id, author_id FROM w) x GROUP BY 1),
 m AS (SELECT community_id, count(*) FILTER (WHERE left_at IS NULL OR left_at >= :until) n,
              count(*) FILTER (WHERE joined_at >= :since) j FROM memberships WHERE joined_at < :until GROUP BY 1),
 r AS (SELECT community_id, count(*) FILTER (WHERE resolved_at IS NULL OR resolved_at >= :until) o,
              count(*) FILTER (WHERE created_at >= :since AND created_at < :until) n
       FROM reports WHERE created_at < :until GROUP BY 1)
SELECT x.id, x.slug, x.name, x.visibility, x.created_at, coalesce(m.n, 0) AS members, coalesce(m.j, 0) AS new_members,
       coalesce(p.n, 0) AS posts, coalesce(c.n, 0) AS comments, coalesce(act.n, 0) AS active_users,
       coalesce(r.n, 0) AS reports, coalesce(r.o, 0) AS open_reports
FROM communities x LEFT JOIN p ON p.community_id = x.id LEFT JOIN c ON c.community_id = x.id
  LEFT JOIN act ON act.community_id = x.id LEFT JOIN m ON m.community_id = x.id
  LEFT JOIN r ON r.community_id::text = x.id::text
WHERE (x.deleted_at IS NULL OR x.deleted_at >= :until) AND (:community::text IS NULL OR x.id::text = :community)
ORDER BY CASE :sort::text WHEN 'members' THEN coalesce(m.n, 0) WHEN 'new_members' THEN coalesce(m.j, 0)
         WHEN 'posts' THEN coalesce(p.n, 0) WHEN 'reports' THEN coalesce(r.n, 0) ELSE coalesce(act.n, 0) END DESC, x.id
LIMIT :top::int

-- name: users.top
-- of: users posts comments reactions reports
WITH p AS (SELECT author_id id, count(*) n FROM posts WHERE created_at >= :since AND created_at < :until GROUP BY 1),
 c AS (SELECT author_id id, count(*) n FROM comments WHERE created_at >= :since AND created_at < :until GROUP BY 1),
 g AS (SELECT user_id id, count(*) n FROM reactions WHERE created_at >= :since AND created_at < :until GROUP BY 1),
 k AS (SELECT p.author_id id, count(*) n FROM reactions r JOIN posts p ON p.id::text = r.target_id::text
       WHERE coalesce(r.target_type, 'post') = 'post' AND r.created_at >= :since AND r.created_at < :until GROUP BY 1),
 r AS (SELECT target_user_id id, count(*) n, count(*) FILTER (WHERE status = 'upheld') up FROM reports
       WHERE created_at >= :since AND created_at < :until GROUP BY 1)
SELECT u.id, u.name AS username, u.role, u.trust_level, u.created_at, u.last_seen_at, coalesce(p.n, 0) AS posts,
       coalesce(c.n, 0) AS comments, coalesce(g.n, 0) AS reactions_given, coalesce(k.n, 0) AS reactions_received,
       coalesce(r.n, 0) AS reports_against, coalesce(r.up, 0) AS upheld_against
FROM users u LEFT JOIN p ON p.id = u.id LEFT JOIN c ON c.id = u.id LEFT JOIN g ON g.id = u.id LEFT JOIN k ON k.id = u.id
  LEFT JOIN r ON r.id::text = u.id::text
WHERE NOT u.is_bot AND u.deleted_at IS NULL AND coalesce(p.n, 0) + coalesce(c.n, 0) + coalesce(g.n, 0) > 0
ORDER BY coalesce(p.n, 0) + coalesce(c.n, 0) DESC, u.id LIMIT :top::int

-- name: users.summary
-- of: users
SELECT count(*) FILTER (WHERE deleted_at IS NULL) AS total,
       count(*) FILTER (WHERE created_at >= :since AND created_at < :until AND NOT is_bot) AS new,
       CASE WHEN :until::timestamptz >= now() - interval '1 day' THEN
         count(*) FILTER (WHERE deleted_at IS NULL AND last_seen_at >= :until::timestamptz - interval '30 days') END AS seen_30d,
       count(*) FILTER (WHERE suspended_until > now()) AS suspended, count(*) FILTER (WHERE is_bot) AS bots,
       (SELECT jsonb_object_agg(coalesce(trust_level::text, '-'), n) FROM (
          SELECT trust_level, count(*) n FROM users WHERE deleted_at IS NULL GROUP BY 1) t) AS by_trust_level,
       (SELECT jsonb_object_agg(coalesce(role, '-'), n) FROM (
          SELECT role, count(*) n FROM users WHERE deleted_at IS NULL GROUP BY 1) t) AS by_role FROM users
