package cli

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/flaggery/flaggery/pkg/api"
	"github.com/flaggery/flaggery/pkg/flaggery"
)

func groupList() verb {
	return verb{
		name:    "group list",
		summary: "List groups of subjects.",
		run: func(ctx context.Context, c *call) error {
			return printList(ctx, c, list[api.Group]{
				header: []string{"NAME", "PRIORITY", "MEMBERS", "OVERRIDES"},
				row: func(g api.Group) []string {
					return []string{g.Name, number(int64(g.Priority)), number(g.Members), overrides(g)}
				},
			}, "groups")
		},
	}
}

func overrides(g api.Group) string {
	var all []string
	for _, feature := range slices.Sorted(maps.Keys(g.Overrides)) {
		all = append(all, feature+"="+g.Overrides[feature])
	}
	return orNone(strings.Join(all, ", "))
}

func groupShow() verb {
	return verb{
		name:      "group show",
		arguments: "GROUP",
		summary:   "Show a group with its overrides.",
		run: func(ctx context.Context, c *call) error {
			g, err := c.admin.Group(ctx, c.Args[0])
			if err != nil {
				return err
			}
			var t table
			t.add("name", g.Value.Name)
			t.add("priority", number(int64(g.Value.Priority)))
			t.add("members", number(g.Value.Members))
			t.add("overrides", overrides(g.Value))
			return c.print(g.Body, []string{g.Value.Name}, t)
		},
	}
}

func groupCreate() verb {
	var create api.CreateGroup
	return verb{
		name:      "group create",
		arguments: "GROUP",
		summary:   "Create a group without members.",
		writes:    true,
		flags: func(fs *flag.FlagSet) {
			fs.IntVar(&create.Priority, "priority", 0, "`number`: if two groups of a subject override the same feature, the higher one wins")
		},
		run: func(ctx context.Context, c *call) error {
			create.Name = c.Args[0]
			return write(ctx, c, change[api.Group]{
				name: create.Name,
				do: func(opts ...flaggery.WriteOption) (flaggery.Result[api.Group], error) {
					return c.admin.AddGroup(ctx, create, opts...)
				},
				done: always[api.Group]("group %s is created", create.Name),
			})
		},
	}
}

func groupDelete() verb {
	return verb{
		name:      "group delete",
		arguments: "GROUP",
		summary:   "Delete a group with its overrides. Its members stay subjects.",
		writes:    true,
		run: func(ctx context.Context, c *call) error {
			return write(ctx, c, change[struct{}]{
				name: c.Args[0],
				do: removal(func(opts ...flaggery.WriteOption) (flaggery.Receipt, error) {
					return c.admin.DeleteGroup(ctx, c.Args[0], opts...)
				}),
				done: always[struct{}]("group %s is deleted", c.Args[0]),
			})
		},
	}
}

func groupMembers() verb {
	return verb{
		name:      "group members",
		arguments: "GROUP",
		summary:   "List the subjects of a group with their weights.",
		run: func(ctx context.Context, c *call) error {
			return printList(ctx, c, list[api.Member]{
				query:  parameters("view", "subjects"),
				header: []string{"SUBJECT", "WEIGHT"},
				row:    func(m api.Member) []string { return []string{m.ID, number(m.Weight)} },
			}, "groups", c.Args[0], "subjects")
		},
	}
}

// groupChange adds subjects to a group or removes them.
func groupChange(name, becomes string, leave bool) verb {
	return verb{
		name:      "group " + name,
		arguments: "GROUP SUBJECT…",
		summary:   fmt.Sprintf("%s up to 10,000 subjects, in one revision.", strings.ToUpper(name[:1])+name[1:]),
		writes:    true,
		run: func(ctx context.Context, c *call) error {
			group, ids := c.Args[0], c.Args[1:]
			return write(ctx, c, change[api.ChangedMembers]{
				name: group,
				do: func(opts ...flaggery.WriteOption) (flaggery.Result[api.ChangedMembers], error) {
					if leave {
						return c.admin.RemoveSubjectsFromGroup(ctx, group, ids, opts...)
					}
					return c.admin.AddSubjectsToGroup(ctx, group, ids, opts...)
				},
				done: func(m api.ChangedMembers) string {
					line := fmt.Sprintf("%s %s %s", count(m.Joined+m.Left, "subject"), becomes, group)
					if m.Already > 0 {
						line += fmt.Sprintf(", %d needed no change", m.Already)
					}
					if len(m.Unknown) > 0 {
						line += ", unknown: " + strings.Join(m.Unknown, ", ")
					}
					return line
				},
			})
		},
	}
}

func overrideSet() verb {
	return verb{
		name:      "group override set",
		arguments: "GROUP FEATURE VARIANT",
		summary:   "Give the members of a group a variant of a feature, whatever else applies to them.",
		writes:    true,
		run: func(ctx context.Context, c *call) error {
			group, feature, variant := c.Args[0], c.Args[1], c.Args[2]
			return write(ctx, c, change[api.VariantReference]{
				name: group,
				do: func(opts ...flaggery.WriteOption) (flaggery.Result[api.VariantReference], error) {
					return c.admin.AddGroupOverride(ctx, group, feature, variant, opts...)
				},
				done: always[api.VariantReference]("group %s gets %s of %s", group, variant, feature),
			})
		},
	}
}

func overrideDelete() verb {
	return verb{
		name:      "group override delete",
		arguments: "GROUP FEATURE",
		summary:   "Delete a group's override of a feature.",
		writes:    true,
		run: func(ctx context.Context, c *call) error {
			group, feature := c.Args[0], c.Args[1]
			return write(ctx, c, change[struct{}]{
				name: group,
				do: removal(func(opts ...flaggery.WriteOption) (flaggery.Receipt, error) {
					return c.admin.DeleteGroupOverride(ctx, group, feature, opts...)
				}),
				done: always[struct{}]("group %s overrides %s no longer", group, feature),
			})
		},
	}
}
