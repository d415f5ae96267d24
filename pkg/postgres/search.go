package postgres

import "context"

// Found is one result of a search.
type Found struct {
	Kind, Name string
}

// Search finds at most limit features, tests and groups by a part of their name, case
// insensitively. Names that begin with it come first; then the order is by name. No
// character of part is special.
func (tx *Tx) Search(ctx context.Context, part string, limit int) (found []Found, err error) {
	err = tx.selectAll(ctx, "search the configuration", &found, `
		SELECT kind, name
		FROM (SELECT 'feature' AS kind, name FROM feature
		      UNION ALL SELECT 'test', name FROM abtest
		      UNION ALL SELECT 'group', name FROM subject_group) AS named
		WHERE strpos(lower(name), lower($1)) > 0
		ORDER BY NOT starts_with(lower(name), lower($1)), name, kind LIMIT $2`, part, limit)
	return found, err
}

// SearchSubjects finds at most limit subjects whose id begins with a prefix, by id.
func (tx *Tx) SearchSubjects(ctx context.Context, prefix string, limit int) (found []Found, err error) {
	err = tx.selectAll(ctx, "search subjects", &found, `
		SELECT 'subject' AS kind, id AS name FROM subject WHERE id >= $1 AND ($2::text IS NULL OR id < $2) ORDER BY id LIMIT $3`,
		prefix, orNull(afterPrefix(prefix)), limit)
	return found, err
}
