package postgres

import "context"

// Managed is the names of what a state document manages, in order.
type Managed struct{ Features, Groups, ABTests []string }

// ManagedBy reads what an owner manages. Archived features are none of it: nothing is
// left to manage.
func (tx *Tx) ManagedBy(ctx context.Context, owner string) (m Managed, err error) {
	const what = "list what a state document manages"
	for _, list := range []struct {
		names *[]string
		text  string
	}{
		{&m.Features, `SELECT name FROM feature WHERE owner = $1 AND NOT archived ORDER BY name`},
		{&m.Groups, `SELECT name FROM subject_group WHERE owner = $1 ORDER BY name`},
		{&m.ABTests, `SELECT name FROM abtest WHERE owner = $1 ORDER BY name`},
	} {
		if err := tx.selectAll(ctx, what, list.names, list.text, owner); err != nil {
			return m, err
		}
	}
	return m, nil
}
