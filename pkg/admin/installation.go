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

// Installation is what people know this installation by. All of it may be left out.
type Installation struct {
	Environment string
	Colour      string // of CSS
	EdgeURL     string // where applications reach the edges
}

func (i *Installation) flags(fs *flag.FlagSet) {
	fs.StringVar(&i.Environment, "environment", "", "`name` of this installation, such as production, shown to people so that they mix no two up")
	fs.StringVar(&i.Colour, "environment-colour", "", "`colour` of this installation, for the same: of CSS, such as #d55e00 or orange")
	fs.StringVar(&i.EdgeURL, "edge-url", "", "`URL` at which applications reach the edges, shown to people")
}

func (i *Installation) validate() error {
	var faults []error
	if i.Environment != "" {
		if err := model.CheckLabel(i.Environment); err != nil {
			faults = append(faults, fmt.Errorf("FLAGGERY_ENVIRONMENT (--environment) %w", err))
		}
	}
	if i.Colour != "" && !isColour(i.Colour) {
		faults = append(faults, fmt.Errorf("FLAGGERY_ENVIRONMENT_COLOUR (--environment-colour) must be a colour of CSS, by its name (orange) or as #rgb or #rrggbb, is %q", i.Colour))
	}
	if i.EdgeURL != "" {
		u, err := url.Parse(i.EdgeURL)
		// The value is not repeated: a URL may have a password where it must have none.
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			faults = append(faults, errors.New("FLAGGERY_EDGE_URL (--edge-url) must be a URL like https://flags.example.com or http://edge:8081/path, without user, query and fragment"))
		}
	}
	return errors.Join(faults...)
}

// isColour says whether CSS knows a colour (Color Module Level 4), in any case of
// letters. Colours with an alpha channel are none, as nobody could read what they are behind.
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
