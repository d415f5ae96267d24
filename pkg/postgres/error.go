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

// translate explains a driver's error, by its code, and how to fix it. Errors of the
// model pass through.
func translate(err error) error {
	switch {
	case err == nil, model.CodeOf(err) != "":
		return err
	case pq.As(err, pqerror.InvalidPassword, pqerror.InvalidAuthorizationSpecification) != nil:
		return fmt.Errorf("the database refuses the user or the password: %w", err)
	case pq.As(err, pqerror.InvalidCatalogName) != nil:
		return fmt.Errorf("the database does not exist: %w", err)
	case pq.As(err, pqerror.UndefinedTable, pqerror.UndefinedColumn, pqerror.UndefinedFunction) != nil:
		return fmt.Errorf("the database's schema is missing or behind, run flaggery-admin migrate up: %w", err)
	case pq.As(err, pqerror.InsufficientPrivilege) != nil:
		return fmt.Errorf("the database role may not do this: %w", err)
	case pq.As(err, pqerror.LockNotAvailable) != nil:
		return model.Errorf(model.NotReady, "an import has locked rows that this write changes: try again when the import is done")
	case pq.As(err, pqerror.InvalidSQLStatementName) != nil:
		return fmt.Errorf("%w: %w", errShared, err)
	case tooManyConnections(err):
		return unavailable{fmt.Errorf("PostgreSQL is at its connection limit: %w", err)}
	case pq.As(err, pqerror.TRSerializationFailure) != nil:
		return model.Errorf(model.NotReady, "other writes keep changing rows that this one reads: try again")
	case isUnavailable(err):
		return unavailable{err}
	}
	if e := pq.As(err, pqerror.UniqueViolation); e != nil {
		if code, ok := existsCodes[e.Constraint]; ok {
			return model.Errorf(code, "the name is taken already")
		}
	}
	return err
}

// tooManyConnections recognises that PostgreSQL has no connection left for a role.
func tooManyConnections(err error) bool { return pq.As(err, pqerror.TooManyConnections) != nil }

// unavailable is the error of a database that cannot serve anyone at the moment. It is a
// [net.Error], like a refused connection.
type unavailable struct{ error }

func (u unavailable) Unwrap() error { return u.error }
func (unavailable) Timeout() bool   { return false }
func (unavailable) Temporary() bool { return true }

// IsUnavailable recognises an unreachable database, or one that cannot serve anyone at
// the moment. Unlike a wrong password, that is temporary.
func IsUnavailable(err error) bool {
	var network net.Error
	return errors.As(err, &network) || isUnavailable(err)
}

func isUnavailable(err error) bool {
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) {
		return true // the connection was lost; COPY returns the second one
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

// existsCodes are the codes for violations of unique constraints.
var existsCodes = map[string]model.Code{
	"subject_pkey":           model.SubjectExists,
	"feature_pkey":           model.FeatureExists,
	"variant_pkey":           model.VariantExists,
	"rollout_pkey":           model.RolloutExists,
	"abtest_pkey":            model.ABTestExists,
	"subject_group_name_key": model.GroupExists,
}

// taken is the error of a name that is taken. It keeps PostgreSQL's own, for unseen.
func taken(cause error, code model.Code, format string, args ...any) error {
	return takenError{model.Errorf(code, format, args...), cause}
}

type takenError struct {
	error
	cause error
}

func (e takenError) Unwrap() []error { return []error{e.error, e.cause} }
