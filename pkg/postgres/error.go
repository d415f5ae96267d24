package postgres

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/flaggery/flaggery/pkg/model"
)

// translate adds to a driver's error, by its code, what its reader can do about it.
// Errors of the model pass through.
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
	case pq.As(err, pqerror.InvalidSQLStatementName) != nil:
		return fmt.Errorf("%w: %w", errShared, err)
	case tooManyConnections(err):
		return unavailable{fmt.Errorf("PostgreSQL is at its connection limit: %w", err)}
	case pq.As(err, pqerror.TRSerializationFailure) != nil:
		return model.Errorf(model.NotReady, "other writes change what this one reads: try again")
	case isUnavailable(err):
		return unavailable{err}
	}
	if e := pq.As(err, pqerror.UniqueViolation); e != nil {
		if code, ok := existsCodes[e.Constraint]; ok {
			return model.Errorf(code, "there is one of this name already")
		}
	}
	return err
}

// tooManyConnections recognises that PostgreSQL has no connection left for a role.
func tooManyConnections(err error) bool { return pq.As(err, pqerror.TooManyConnections) != nil }

// unavailable is a database that cannot serve anybody at the moment. To callers it is a
// [net.Error], like a refused connection.
type unavailable struct{ error }

func (u unavailable) Unwrap() error { return u.error }
func (unavailable) Timeout() bool   { return false }
func (unavailable) Temporary() bool { return true }

// IsUnavailable recognises a database that is away or cannot serve anybody at the
// moment, which mends itself, unlike a wrong password.
func IsUnavailable(err error) bool {
	var network net.Error
	return errors.As(err, &network) || isUnavailable(err)
}

func isUnavailable(err error) bool {
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) {
		return true // the connection broke off; COPY returns the second one
	}
	var e *pq.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code.Class() {
	case pqerror.ClassConnectionException, pqerror.ClassInsufficientResources, // a full disk, no connection left
		pqerror.ClassOperatorIntervention, // shutting down, recovering, out of time
		pqerror.ClassSystemError:
		return true
	}
	return e.Code == pqerror.ReadOnlySQLTransaction // a standby, until the failover is complete
}

// existsCodes say what already exists if a unique constraint is violated.
var existsCodes = map[string]model.Code{
	"subject_pkey":           model.SubjectExists,
	"feature_pkey":           model.FeatureExists,
	"variant_pkey":           model.VariantExists,
	"rollout_pkey":           model.RolloutExists,
	"abtest_pkey":            model.ABTestExists,
	"subject_group_name_key": model.GroupExists,
}
