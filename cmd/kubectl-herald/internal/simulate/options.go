// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// options are the verb's flags.
type options struct {
	files      []string
	prune      bool
	namespace  string
	class      string
	kubeconfig string
	context    string
	output     string
	all        bool
}

const (
	outputText = "text"
	outputJSON = "json"
)

const usage = `Tell what would become of the addresses of Services if manifests were applied.

Nothing is written. The objects of the manifests take the place of the cluster's objects
of the same name, one after the other, as kubectl apply does it; all others stay.

Usage: kubectl herald simulate -f FILE [-f FILE ...] [flags]

Examples:
  kubectl herald simulate -f new-pools.yaml
  kubectl herald simulate -f pools/ --prune -o json
  kubectl kustomize config | kubectl herald simulate -f -

Exit status: 0 no Service moves or loses an address, 1 error, 2 wrong usage,
3 a Service would move or lose an address.

Flags:
`

// parse reads the arguments. It returns flag.ErrHelp if help was asked for.
func parse(args []string) (options, error) {
	o := options{output: outputText}
	flags := o.flags()
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q; manifests are given with -f", flags.Arg(0))
	case len(o.files) == 0:
		return o, errors.New("no manifest; give at least one with -f")
	case o.output != outputText && o.output != outputJSON:
		return o, fmt.Errorf("invalid value %q for -o: want %s or %s", o.output, outputText, outputJSON)
	case o.namespace == "":
		return o, errors.New("the namespace is empty; give that of Herald's configuration with -n")
	}
	return o, nil
}

func (o *options) flags() *flag.FlagSet {
	flags := flag.NewFlagSet("simulate", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	both := func(short, long string, define func(name string)) {
		define(short)
		define(long)
	}
	both("f", "filename", func(name string) {
		flags.Func(name, "`file` or folder with manifests, or - for standard input; may be repeated", func(path string) error {
			o.files = append(o.files, path)
			return nil
		})
	})
	both("n", "namespace", func(name string) {
		flags.StringVar(&o.namespace, name, "metallb-system", "`namespace` of Herald's configuration")
	})
	both("o", "output", func(name string) {
		flags.StringVar(&o.output, name, outputText, "output `format`, text or json")
	})
	flags.BoolVar(&o.prune, "prune", false, "take the manifests for the whole configuration: objects that are not in them are deleted, after the others are applied")
	flags.BoolVar(&o.all, "all", false, "print also the Services that nothing changes for")
	flags.StringVar(&o.class, "lb-class", "", "`class` of Herald's Services, as given to the controller; default those without a loadBalancerClass")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "`path` of a kubeconfig; default as kubectl finds it")
	flags.StringVar(&o.context, "context", "", "`name` of the kubeconfig's context")
	return flags
}

// printUsage prints the help text.
func printUsage(w io.Writer) {
	fmt.Fprint(w, usage)
	o := options{output: outputText}
	long := map[string]string{"f": "filename", "n": "namespace", "o": "output"}
	flags := o.flags()
	flags.VisitAll(func(f *flag.Flag) {
		for _, name := range long {
			if f.Name == name {
				return // told with its short form
			}
		}
		value, text := flag.UnquoteUsage(f)
		name := "--" + f.Name
		if l, ok := long[f.Name]; ok {
			name = "-" + f.Name + ", --" + l
		}
		if f.DefValue != "" && f.DefValue != "false" {
			text += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(w, "  %s\n      %s\n", strings.TrimSpace(name+" "+value), text)
	})
}
