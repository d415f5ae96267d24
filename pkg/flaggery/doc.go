// Package flaggery is the Go client for Flaggery's two services: an [Edge] reads the
// flags of subjects, an [Admin] reads and changes the configuration. Package api has
// the types of requests and answers.
//
// # Reading flags
//
//	edge, err := flaggery.NewEdge("http://edge:8081")
//	...
//	flags, err := edge.Flags(ctx, "42")
//	if err == nil && flags.Enabled("checkout") {
//		variant := flags.Variant("checkout")
//		...
//	}
//
// The zero [Flags] has every feature off: a program that ignores the error behaves as
// without Flaggery.
//
// By default every call is a request. With [Cache], answers are kept and returned
// without a request for a given time. After that, a conditional request checks whether
// they have changed. If the edge cannot be reached, the old answer is returned, marked
// Stale: an application keeps its flags during an outage.
//
// # Changing flags
//
//	admin, err := flaggery.NewAdmin("http://admin:8080", token)
//	...
//	_, err = admin.AddFeature(ctx, api.CreateFeature{Name: "checkout"})
//	_, err = admin.AddVariant(ctx, "checkout", api.CreateVariant{Name: "A"})
//	_, err = admin.AddRollout(ctx, "checkout", "A")
//	_, err = admin.SetRolloutProportion(ctx, "checkout", 0.1, flaggery.Wait(2*time.Second))
//
// The methods have the names and arguments of those of package writer, which works on
// the database directly. Every write takes options: [DryRun] checks the write and
// returns what would change, [Wait] waits until every edge serves the change, and
// [IfMatch] makes the write fail if the resource has changed since it was read.
//
// Lists and exports are iterators. They read page by page, and yield an error last:
//
//	for feature, err := range admin.Features(ctx) {
//		if err != nil {
//			return err
//		}
//		...
//	}
//
// # Reading your own write
//
// Each [Result] has the revision that the write made. Either let the write wait for
// all edges, or let the read wait for the revision:
//
//	flags, err := edge.Flags(ctx, "42", flaggery.MinRevision(result.Revision, time.Second))
//
// # Errors
//
// If a service rejects a request, the error wraps an [*api.Problem]. [CodeOf] returns
// its code:
//
//	if flaggery.CodeOf(err) == api.SubjectNotFound {
//		...
//	}
//
// Reads are retried if there is no connection, or if the service is not ready or
// overloaded: twice unless [Retries] is set, after a random delay, and not before the
// time that the service asks for. Writes are never retried, because the first attempt
// may have been stored. Every attempt has a [Timeout], and every call ends with its
// context.
//
// # Payloads
//
// A payload that is sent as a json.RawMessage is stored byte for byte. Payloads in
// answers are a json.RawMessage, or nil for none: decode them into your own type.
package flaggery
