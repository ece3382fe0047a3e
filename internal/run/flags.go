// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Exit codes of both binaries.
const (
	ExitOK      = 0
	ExitFailure = 1 // it ran and could not go on; the reason is in the log
	ExitUsage   = 2 // a wrong flag, or a wrong value in a flag or variable
)

// FlagSet is a [flag.FlagSet] with defaults from the environment and one
// contract for mistakes: whatever is wrong, one line on standard error says so
// and the process exits with [ExitUsage].
//
// Precedence: command line, then environment variable, then default. An empty
// environment variable counts as absent.
type FlagSet struct {
	*flag.FlagSet

	purpose   string
	lookupEnv func(string) (string, bool)
	env       map[string]string // flag name -> environment variable
	ignored   map[string]string // flag name -> why it has no effect
	checks    []func() error
	version   *bool
}

// NewFlagSet returns an empty set for the binary of that name. The purpose is
// the sentence under the usage line of --help. lookupEnv is os.LookupEnv
// outside tests.
func NewFlagSet(name, purpose string, lookupEnv func(string) (string, bool)) *FlagSet {
	f := &FlagSet{
		FlagSet:   flag.NewFlagSet(name, flag.ContinueOnError),
		purpose:   purpose,
		lookupEnv: lookupEnv,
		env:       map[string]string{},
		ignored:   map[string]string{},
	}
	f.SetOutput(io.Discard) // Parse reports, once and on one line
	f.Usage = func() {}
	f.version = f.Bool("version", false, "print the version and exit")
	return f
}

// Env lets an environment variable give the default of a flag that is already
// defined.
func (f *FlagSet) Env(name, variable string) {
	if f.Lookup(name) == nil {
		panic("run: Env of undefined flag --" + name)
	}
	f.env[name] = variable
}

// Port defines a flag for a TCP or UDP port, 0 to 65535.
func (f *FlagSet) Port(name string, value uint16, usage string) *uint16 {
	f.Var((*portValue)(&value), name, usage)
	return &value
}

// Ignored accepts a flag that MetalLB has and Herald has no use for, so that
// arguments written for MetalLB keep working. takesValue says whether the flag
// is followed by a value; without it is a boolean. See [FlagSet.IgnoredFlags].
func (f *FlagSet) Ignored(name string, takesValue bool, why string) {
	f.Var(ignoredValue{boolean: !takesValue}, name, "accepted and ignored: "+why)
	f.ignored[name] = why
}

// Check adds a rule that looks at several flags together. Rules run in the
// order of their addition after all flags have been parsed; the first error is
// reported as a usage error.
func (f *FlagSet) Check(rule func() error) {
	f.checks = append(f.checks, rule)
}

// Parse reads the environment and the arguments (without the program's name).
// If done is true the process shall exit with code: help or the version was
// printed to stdout, or what is wrong was printed to stderr as one line.
func (f *FlagSet) Parse(args []string, stdout, stderr io.Writer) (code int, done bool) {
	err := f.parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		f.printUsage(stdout)
		return ExitOK, true
	case err != nil:
		fmt.Fprintf(stderr, "%s: %s (see %s --help)\n", f.Name(), oneLine(err.Error()), f.Name())
		return ExitUsage, true
	case *f.version:
		fmt.Fprintf(stdout, "%s %s\n", f.Name(), Version())
		return ExitOK, true
	}
	for _, rule := range f.checks {
		if err := rule(); err != nil {
			fmt.Fprintf(stderr, "%s: %s\n", f.Name(), oneLine(err.Error()))
			return ExitUsage, true
		}
	}
	return ExitOK, false
}

func (f *FlagSet) parse(args []string) error {
	for name, variable := range f.env {
		value, ok := f.lookupEnv(variable)
		if !ok || value == "" {
			continue
		}
		if err := f.Set(name, value); err != nil {
			return fmt.Errorf("invalid value %q in environment variable %s: %w", value, variable, err)
		}
	}
	if err := f.FlagSet.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: every argument is a flag", f.Arg(0))
	}
	return nil
}

// IgnoredFlags returns the flags on the command line that have no effect, each
// with the reason, in alphabetical order.
func (f *FlagSet) IgnoredFlags() []string {
	var given []string
	f.Visit(func(fl *flag.Flag) {
		if why, ok := f.ignored[fl.Name]; ok {
			given = append(given, "--"+fl.Name+": "+why)
		}
	})
	return given
}

func (f *FlagSet) printUsage(w io.Writer) {
	fmt.Fprintf(w, "Usage: %s [flags]\n\n%s %s.\n\nFlags:\n", f.Name(), f.Name(), f.purpose)
	f.VisitAll(func(fl *flag.Flag) {
		if _, ignored := f.ignored[fl.Name]; ignored {
			return
		}
		valueName, usage := flag.UnquoteUsage(fl)
		fmt.Fprintf(w, "  --%s\n      %s%s\n", strings.TrimSpace(fl.Name+" "+valueName), usage, f.origin(fl))
	})
	if len(f.ignored) > 0 {
		names := make([]string, 0, len(f.ignored))
		for name := range f.ignored {
			names = append(names, "--"+name)
		}
		slices.Sort(names)
		fmt.Fprintf(w, "\nAccepted for compatibility, without effect: %s\n", strings.Join(names, ", "))
	}
}

// origin says where the value of a flag comes from when it is not given.
func (f *FlagSet) origin(fl *flag.Flag) string {
	var parts []string
	if fl.DefValue != "" && fl.DefValue != "false" {
		parts = append(parts, "default "+fl.DefValue)
	}
	if variable := f.env[fl.Name]; variable != "" {
		parts = append(parts, "environment variable "+variable)
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, "; ") + ")"
}

// oneLine keeps a message on one line whatever a user typed.
func oneLine(s string) string {
	return strings.NewReplacer("\r", `\r`, "\n", `\n`).Replace(s)
}

type portValue uint16

func (p *portValue) String() string { return strconv.Itoa(int(*p)) }

func (p *portValue) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return errors.New("want a port from 0 to 65535")
	}
	*p = portValue(n)
	return nil
}

type ignoredValue struct{ boolean bool }

func (ignoredValue) String() string     { return "" }
func (ignoredValue) Set(string) error   { return nil }
func (v ignoredValue) IsBoolFlag() bool { return v.boolean }
