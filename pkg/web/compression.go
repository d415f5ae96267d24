package web

import (
	"net/http"

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
	"github.com/labstack/echo/v4"

	"github.com/flaggery/flaggery/pkg/api"
)

const (
	// ETagSuffix ends the ETag of a compressed answer, inside the quotes. A strong
	// ETag names the bytes of an answer (RFC 9110, section 8.8.3), so both forms must
	// not share one.
	ETagSuffix = "-gzip"
	// minCompressed is the length from which compression saves packets.
	minCompressed = 1 << 10
)

// compress compresses text for clients that accept gzip. It comes before onePath,
// as HEAD requests still have their method there. The fastest level saves nearly as
// much as the others. Events are left out: each would have to be flushed.
func compress(next http.Handler) http.Handler {
	wrap, err := gzhttp.NewWrapper(
		gzhttp.EnableZstd(false),
		gzhttp.CompressionLevel(gzip.BestSpeed),
		gzhttp.MinSize(minCompressed),
		gzhttp.ContentTypes([]string{api.MediaJSON, api.MediaProblem, api.MediaNDJSON, api.MediaYAML, api.MediaSchema, echo.MIMETextHTML}),
		gzhttp.SuffixETag(ETagSuffix),
	)
	if err != nil {
		panic(err) // the options are constant
	}
	return wrap(next)
}
