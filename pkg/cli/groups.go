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
					return []string{g.Name, number(int64(g.Priority)), number(g.Members), byFeature(g.Overrides)}
				},
			}, "groups")
		},
	}
}

// byFeature lists variants as "checkout=A, search=B".
func byFeature(variants map[string]string) string {
	var all []string
	for _, feature := range slices.Sorted(maps.Keys(variants)) {
		all = append(all, feature+"="+variants[feature])
	}
	return orNone(strings.Join(all, ", "))
}

func groupShow() verb {
	return show("group show", "GROUP", "Show a group with its overrides.", (*flaggery.Admin).Group, func(t *table, g api.Group) {
		t.add("name", g.Name)
		t.add("priority", number(int64(g.Priority)))
		t.add("members", number(g.Members))
		t.add("overrides", byFeature(g.Overrides))
	})
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
	return remove("group delete", "GROUP", "Delete a group with its overrides. Its members stay subjects.", "group %s is deleted", (*flaggery.Admin).DeleteGroup)
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
func groupChange(name, summary, becomes string, leave bool) verb {
	return verb{
		name:      "group " + name,
		arguments: "GROUP SUBJECT…",
		summary:   summary,
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
		changes:   true,
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
		changes:   true,
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
