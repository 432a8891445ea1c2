import shapes from 'virtual:icons';

// An outline by its Lucide name; the names in use are listed in icons.json. Always beside a word or a label, so it is
// hidden from assistive technology.
export function Icon({ name, size = 16 }: { readonly name: string; readonly size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      stroke-width={size < 14 ? 2.4 : 2}
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
      // Shapes from the icon package, written in at build time.
      dangerouslySetInnerHTML={{ __html: shapes[name] ?? '' }}
    />
  );
}

export function Logo() {
  return (
    <svg width="22" height="22" viewBox="0 0 22 22" aria-hidden="true">
      <rect width="22" height="22" rx="6" fill="var(--ink)" />
      <path
        d="M6.2 16.5V7.3c0-1.4.9-2.3 2.3-2.3h7"
        fill="none"
        stroke="var(--bg)"
        stroke-width="2.3"
        stroke-linecap="round"
      />
      <path
        d="M6.2 11.3h3.1l1.5-2 2.1 4 1.3-2h1.5"
        fill="none"
        stroke="var(--bg)"
        stroke-width="1.7"
        stroke-linecap="round"
        stroke-linejoin="round"
      />
    </svg>
  );
}
