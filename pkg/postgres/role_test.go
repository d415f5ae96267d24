package postgres

import (
	"context"
	"testing"
)

// Deployments run `migrate up --create-edge-role` from several pods at a time.
func TestEdgeRoleIsMadeByManyAtOnce(t *testing.T) {
	t.Parallel()
	db := open(t)
	const role = "test_edge_role_of_many"
	t.Cleanup(func() { // roles are the server's, not the database's
		for _, statement := range []string{"DROP OWNED BY " + role, "DROP ROLE " + role} {
			if _, err := db.pool.ExecContext(context.Background(), statement); err != nil {
				t.Error(err)
			}
		}
	})
	failed := make(chan error)
	const many = 10
	for range many {
		go func() { failed <- db.CreateRole(t.Context(), EdgeRights, role, "a password") }()
	}
	for range many {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}
