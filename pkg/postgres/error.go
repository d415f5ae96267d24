package postgres

import (
	"fmt"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
)

// translate says of a driver's error what its reader can do about it, by its
// code. Errors of the model pass through.
func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case pq.As(err, pqerror.InvalidPassword, pqerror.InvalidAuthorizationSpecification) != nil:
		return fmt.Errorf("the database refuses the user or the password: %w", err)
	case pq.As(err, pqerror.InvalidCatalogName) != nil:
		return fmt.Errorf("the database does not exist: %w", err)
	case pq.As(err, pqerror.UndefinedTable) != nil:
		return fmt.Errorf("the database has no Flaggery schema, run flaggery-admin migrate up: %w", err)
	case pq.As(err, pqerror.InsufficientPrivilege) != nil:
		return fmt.Errorf("the database role may not do this: %w", err)
	}
	return err
}
