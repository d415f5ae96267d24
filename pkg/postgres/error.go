package postgres

import (
	"fmt"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/flaggery/flaggery/pkg/model"
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
	case pq.As(err, pqerror.UndefinedTable, pqerror.UndefinedColumn, pqerror.UndefinedFunction) != nil:
		return fmt.Errorf("the database's schema is missing or behind, run flaggery-admin migrate up: %w", err)
	case pq.As(err, pqerror.InsufficientPrivilege) != nil:
		return fmt.Errorf("the database role may not do this: %w", err)
	case pq.As(err, pqerror.LockNotAvailable) != nil:
		return model.Errorf(model.NotReady, "an import holds what this write changes: try again when it is done")
	}
	if e := pq.As(err, pqerror.UniqueViolation); e != nil {
		if code, ok := existsCodes[e.Constraint]; ok {
			return model.Errorf(code, "there is one of this name already")
		}
	}
	return err
}

// existsCodes tell what a unique constraint found to be there already.
var existsCodes = map[string]model.Code{
	"subject_pkey":           model.SubjectExists,
	"feature_pkey":           model.FeatureExists,
	"variant_pkey":           model.VariantExists,
	"rollout_pkey":           model.RolloutExists,
	"abtest_pkey":            model.ABTestExists,
	"subject_group_name_key": model.GroupExists,
}
