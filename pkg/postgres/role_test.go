package postgres

import (
	"testing"

	"github.com/flaggery/flaggery/pkg/pgtest"
)

// Deployments run `migrate up --create-edge-role` from several pods at a time.
func TestEdgeRoleIsMadeByManyAtOnce(t *testing.T) {
	t.Parallel()
	db := open(t)
	role := pgtest.NewRole(t, db.url)
	failed := make(chan error)
	const many = 10
	for range many {
		go func() { failed <- db.CreateRole(t.Context(), EdgeRights, role.Name, role.Password) }()
	}
	for range many {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}
