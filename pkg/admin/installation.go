package admin

import (
	"errors"
	"flag"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/flaggery/flaggery/pkg/model"
)

// Installation describes this installation to people. All fields are optional.
type Installation struct {
	Environment string
	Colour      string // a CSS colour
	EdgeURL     string // the URL of the edges for applications
	// ReasonAbove is the share of the weight above which the console requires a reason
	// for a change.
	ReasonAbove float64
}

func (i *Installation) flags(fs *flag.FlagSet) {
	fs.StringVar(&i.Environment, "environment", "", "`name` of this installation, such as production, shown in user interfaces")
	fs.StringVar(&i.Colour, "environment-colour", "", "CSS `colour` of this installation, such as #d55e00 or orange, shown in user interfaces")
	fs.StringVar(&i.EdgeURL, "edge-url", "", "`URL` of the edges for applications, shown in user interfaces")
	fs.Float64Var(&i.ReasonAbove, "reason-above", 0.25, "`share` of the weight, from 0 to 1, above which the console requires a reason for a change; 1 for never")
}

func (i *Installation) validate() error {
	var faults []error
	if i.Environment != "" {
		if err := model.CheckLabel(i.Environment); err != nil {
			faults = append(faults, fmt.Errorf("FLAGGERY_ENVIRONMENT (--environment) %w", err))
		}
	}
	if i.Colour != "" && !isColour(i.Colour) {
		faults = append(faults, fmt.Errorf("FLAGGERY_ENVIRONMENT_COLOUR (--environment-colour) must be a CSS colour, such as orange, #rgb or #rrggbb, is %q", i.Colour))
	}
	if i.EdgeURL != "" {
		u, err := url.Parse(i.EdgeURL)
		// The error does not show the value: it may contain a password.
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			faults = append(faults, errors.New("FLAGGERY_EDGE_URL (--edge-url) must be a URL like https://flags.example.com or http://edge:8081/path, without user, query and fragment"))
		}
	}
	if !(i.ReasonAbove >= 0 && i.ReasonAbove <= 1) {
		faults = append(faults, fmt.Errorf("FLAGGERY_REASON_ABOVE (--reason-above) must be from 0 to 1, is %g", i.ReasonAbove))
	}
	return errors.Join(faults...)
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
