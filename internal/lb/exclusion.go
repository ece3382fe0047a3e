// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
)

// Exclusion returns which rule of serviceAllocation keeps out a Service that the pool
// does not admit; see Admits. Empty: none does.
func (p *Pool) Exclusion(namespace string, namespaceLabels, serviceLabels labels.Set) string {
	a := p.Allocation
	switch {
	case p.Admits(namespace, namespaceLabels, serviceLabels):
		return ""
	case a.admitsNamespace(namespace, namespaceLabels):
		return "the labels of the Service match none of its serviceSelectors (" + alternatives(canonical(a.ServiceSelectors)) + ")"
	case len(a.NamespaceSelectors) == 0:
		return fmt.Sprintf("namespace %s is not one of its namespaces (%s)", namespace, alternatives(a.Namespaces))
	case len(a.Namespaces) == 0:
		return fmt.Sprintf("the labels of namespace %s match none of its namespaceSelectors (%s)", namespace, alternatives(canonical(a.NamespaceSelectors)))
	}
	return fmt.Sprintf("namespace %s is not one of its namespaces (%s), and its labels match none of the namespaceSelectors (%s)",
		namespace, alternatives(a.Namespaces), alternatives(canonical(a.NamespaceSelectors)))
}

// alternatives joins what is one as good as the other, as far as people will read.
func alternatives(words []string) string {
	const most = 5
	if len(words) > most {
		return strings.Join(words[:most], " or ") + fmt.Sprintf(" or %d more", len(words)-most)
	}
	return strings.Join(words, " or ")
}
