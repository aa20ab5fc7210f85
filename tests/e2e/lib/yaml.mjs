// Writes plain objects as block YAML, the way a person writes the configuration file.
export function toYaml(value, indent = '') {
  if (Array.isArray(value)) {
    if (value.length === 0) return '[]';
    return value.map((item) => `\n${indent}- ${nested(item, `${indent}  `)}`).join('');
  }
  if (value !== null && typeof value === 'object') {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    if (entries.length === 0) return '{}';
    return entries.map(([key, item]) => `\n${indent}${scalar(key)}: ${toYaml(item, `${indent}  `)}`).join('');
  }
  return scalar(value);
}
function nested(item, indent) {
  const text = toYaml(item, indent);
  return text.startsWith('\n') ? text.slice(1 + indent.length) : text;
}
function scalar(value) {
  if (typeof value !== 'string') return String(value);
  const plain = /^[A-Za-z_][\w./-]*$/.test(value) && !/^(true|false|yes|no|on|off|null|y|n)$/i.test(value);
  return plain ? value : JSON.stringify(value);
}
