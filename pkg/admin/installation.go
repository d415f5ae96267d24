package admin

import (
	"errors"
	"flag"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/model"
	"github.com/flaggery/flaggery/pkg/web"
)

// Installation describes this installation to people. All fields are optional.
type Installation struct {
	Environment web.Environment
	Colour      string // a CSS colour
	// Environments are installations as name=URL pairs, separated by commas. They may
	// include this one, so that all installations can have the same value.
	Environments string
	EdgeURL      string // the URL of the edges for applications
	// ReasonAbove is the share of the weight above which the console requires a reason
	// for a change.
	ReasonAbove float64
}

func (i *Installation) flags(fs *flag.FlagSet) {
	i.Environment.Flags(fs)
	fs.StringVar(&i.Colour, "environment-colour", "", "CSS `colour` of this installation, such as #d55e00 or orange, shown in user interfaces")
	fs.StringVar(&i.Environments, "environments", "", "`name=URL` pairs of installations, separated by commas, that the console links to: staging=https://flags.staging.example.com,production=https://flags.example.com")
	fs.StringVar(&i.EdgeURL, "edge-url", "", "`URL` of the edges for applications, shown in user interfaces")
	fs.Float64Var(&i.ReasonAbove, "reason-above", 0.25, "`share` of the weight, from 0 to 1, above which the console requires a reason for a change; 1 for never")
}

// Validate reports every field at fault.
func (i *Installation) Validate() error {
	faults := []error{i.Environment.Validate()}
	if i.Colour != "" && !isColour(i.Colour) {
		faults = append(faults, fmt.Errorf("FLAGGERY_ENVIRONMENT_COLOUR (--environment-colour) must be a CSS colour, such as orange, #rgb or #rrggbb, is %q", i.Colour))
	}
	if _, err := i.otherEnvironments(); err != nil {
		faults = append(faults, fmt.Errorf("FLAGGERY_ENVIRONMENTS (--environments) %w", err))
	}
	if _, ok := parseURL(i.EdgeURL); !ok && i.EdgeURL != "" {
		faults = append(faults, errors.New("FLAGGERY_EDGE_URL (--edge-url) must be a URL like https://flags.example.com or http://edge:8081/path, without user, query and fragment"))
	}
	if !(i.ReasonAbove >= 0 && i.ReasonAbove <= 1) {
		faults = append(faults, fmt.Errorf("FLAGGERY_REASON_ABOVE (--reason-above) must be from 0 to 1, is %g", i.ReasonAbove))
	}
	return errors.Join(faults...)
}

// parseURL parses an HTTP URL without user, query and fragment. Errors must not show
// others: they may contain a password.
func parseURL(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	return u, err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

const (
	maxEnvironments = 16
	maxURL          = 1 << 10 // bytes
)

// otherEnvironments parses Environments and leaves out this installation.
func (i *Installation) otherEnvironments() ([]api.Environment, error) {
	others := []api.Environment{}
	if i.Environments == "" {
		return others, nil
	}
	pairs := strings.Split(i.Environments, ",")
	if len(pairs) > maxEnvironments {
		return nil, fmt.Errorf("must be at most %d pairs of name=URL, are %d", maxEnvironments, len(pairs))
	}
	var names []string
	for n, pair := range pairs {
		name, text, found := strings.Cut(strings.TrimSpace(pair), "=")
		if !found {
			return nil, fmt.Errorf("must be pairs of name=URL, separated by commas: pair %d has no =", n+1)
		}
		if err := model.CheckLabel(name); err != nil {
			return nil, fmt.Errorf("has the name %q: it %w", name, err)
		}
		if slices.Contains(names, name) {
			return nil, fmt.Errorf("has the name %q twice", name)
		}
		names = append(names, name)
		// The console has no other path than /.
		if u, ok := parseURL(text); !ok || u.Path != "" && u.Path != "/" || len(text) > maxURL {
			return nil, fmt.Errorf("must have a URL like https://flags.example.com for %q, of at most %d bytes, without user, path, query and fragment", name, maxURL)
		}
		if name != string(i.Environment) {
			others = append(others, api.Environment{Name: name, URL: text})
		}
	}
	return others, nil
}

// isColour reports whether a text is a CSS colour (Color Module Level 4), ignoring
// case. Colours with an alpha channel are rejected: text on them might be unreadable.
func isColour(text string) bool {
	if digits, marked := strings.CutPrefix(text, "#"); marked {
		return (len(digits) == 3 || len(digits) == 6) && strings.Trim(digits, "0123456789abcdefABCDEF") == ""
	}
	return slices.Contains(strings.Fields(colours), strings.ToLower(text))
}

const colours = `
	aliceblue antiquewhite aqua aquamarine azure beige bisque black blanchedalmond blue blueviolet brown burlywood cadetblue
	chartreuse chocolate coral cornflowerblue cornsilk crimson cyan darkblue darkcyan darkgoldenrod darkgray darkgreen darkgrey
	darkkhaki darkmagenta darkolivegreen darkorange darkorchid darkred darksalmon darkseagreen darkslateblue darkslategray
	darkslategrey darkturquoise darkviolet deeppink deepskyblue dimgray dimgrey dodgerblue firebrick floralwhite forestgreen
	fuchsia gainsboro ghostwhite gold goldenrod gray green greenyellow grey honeydew hotpink indianred indigo ivory khaki lavender
	lavenderblush lawngreen lemonchiffon lightblue lightcoral lightcyan lightgoldenrodyellow lightgray lightgreen lightgrey
	lightpink lightsalmon lightseagreen lightskyblue lightslategray lightslategrey lightsteelblue lightyellow lime limegreen linen
	magenta maroon mediumaquamarine mediumblue mediumorchid mediumpurple mediumseagreen mediumslateblue mediumspringgreen
	mediumturquoise mediumvioletred midnightblue mintcream mistyrose moccasin navajowhite navy oldlace olive olivedrab orange
	orangered orchid palegoldenrod palegreen paleturquoise palevioletred papayawhip peachpuff peru pink plum powderblue purple
	rebeccapurple red rosybrown royalblue saddlebrown salmon sandybrown seagreen seashell sienna silver skyblue slateblue slategray
	slategrey snow springgreen steelblue tan teal thistle tomato turquoise violet wheat white whitesmoke yellow yellowgreen`
