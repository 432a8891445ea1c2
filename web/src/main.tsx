import './styles/tokens.css';
import './styles/base.css';
import { render } from 'preact';
import { App } from './app';
import { startPrefs } from './data/prefs';
import { handle } from './lib/keys';
import { onLinkClick, startRoutes } from './routes';

startPrefs();
startRoutes();
document.addEventListener('keydown', (event) => handle(event, performance.now()));
document.addEventListener('click', onLinkClick);
render(<App />, document.getElementById('app')!);
